"""The environment of commands that run the stack on a machine without GPUs."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from openrlhf_marge.runs.cpu_operators import use_operators

# What the stack needs on a CPU, and what makes it start faster there; values set by the user win.
CPU_ENVIRONMENT = {
    "DS_ACCELERATOR": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine runs inside its Ray actor: one start and one process less
    "VLLM_LOGGING_LEVEL": "WARNING",
    "OMP_NUM_THREADS": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_worker_niceness": "0",  # Ray's own choice of 15 starves the workers wherever anything else runs
    "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "180",  # seconds; 30 are too few on a busy machine
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "PYTHONWARNINGS": "ignore",
    "TORCH_EXTENSIONS_DIR": os.path.join(sys.prefix, "torch_extensions"),  # DeepSpeed's operators, see setup_cpu.sh
}


def cpu_environment() -> dict[str, str]:
    """This process's environment, completed for the stack on a CPU; no killed run blocks its operators then."""
    environment = CPU_ENVIRONMENT | os.environ
    # Ninja builds everything again where another version of it has built, so it is the one of this environment.
    scripts = sysconfig.get_path("scripts")
    environment["PATH"] = os.pathsep.join([scripts, *filter(scripts.__ne__, os.get_exec_path())])
    use_operators(Path(environment["TORCH_EXTENSIONS_DIR"]))
    return environment


def environment() -> dict[str, str]:
    """For the commands: this process's own, completed where DS_ACCELERATOR says that there is no GPU."""
    if os.environ.get("DS_ACCELERATOR") != "cpu":
        return dict(os.environ)
    return cpu_environment()
