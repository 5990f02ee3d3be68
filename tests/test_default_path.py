"""With ``--experience_maker default`` the patched OpenRLHF does what the stock one does."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import openrlhf

from openrlhf_marge.patches import locate

pytestmark = pytest.mark.stack

SITE = Path(openrlhf.__file__).parents[1]
COMMAND_LINES = [
    "",
    "--algo.advantage.estimator group_norm --rollout.n_samples_per_prompt 8 --algo.kl.use_loss",
    "--actor.eps_clip_low_high 0.2 0.3 --vllm.num_engines 2 --critic.muon.no_nesterov",
    "--train.async_enable --train.partial_rollout_enable --data.input_template Q:{}",
    "--algo.advantage.is_correction_level token --algo.advantage.is_correction_threshold 3",
    "--train.colocate_all --vllm.enable_sleep --ckpt.max_mem 10",
]
# Runs the command's own code up to the call of train(), once per line of its input, and prints what train() would get.
SHOW_ARGS = """
from openrlhf.cli import train_ppo_ray
source = open(train_ppo_ray.__file__).read().replace("\\n    train(", "\\n    show(")
def show(args, maker=None):
    vars(args).pop("experience_maker", None)
    print("ARGS", args)
for line in sys.stdin.read().split("\\n"):
    sys.argv = ["train_ppo_ray", *line.split()]
    exec(compile(source, "train_ppo_ray", "exec"), {"__name__": "__main__", "show": show})
"""
# Stock imports flash-attn at the top of a module that parsing never calls into. The libraries that look for it are
# imported first: they would take the stub for the real one.
STUB_FLASH_ATTN = """
import sys, types
import deepspeed, peft, transformers, vllm
for name in ("flash_attn", "flash_attn.bert_padding", "flash_attn.utils", "flash_attn.utils.distributed"):
    sys.modules[name] = types.ModuleType(name)
for name in ("index_first_axis", "pad_input", "rearrange", "unpad_input"):
    setattr(sys.modules["flash_attn.bert_padding"], name, None)
sys.modules["flash_attn.utils.distributed"].all_gather = None
"""


def run_python(*arguments: str, first_on_path: Path, stdin: str = "") -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(first_on_path), "DS_ACCELERATOR": "cpu"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, env=environment, cwd="/")


@pytest.fixture(scope="module")
def stock_site(tmp_path_factory) -> Path:
    """A site folder with the stock openrlhf, got by reverting the series on a copy of the installed one."""
    site = tmp_path_factory.mktemp("stock")
    shutil.copytree(locate().package, site / "openrlhf", ignore=shutil.ignore_patterns("__pycache__"))
    # Without its wheel's record the copy would not be taken for installed, and the installed package be reverted.
    (info,) = locate().root.glob("openrlhf-*.dist-info")
    shutil.copytree(info, site / info.name)
    reverted = run_python("-m", "openrlhf_marge.patches", "revert", first_on_path=site)
    assert reverted.returncode == 0, reverted.stderr
    assert not (site / "openrlhf/trainer/experience_maker_registry.py").exists()
    return site


def test_the_same_command_lines_give_the_same_arguments(stock_site):
    common = "--actor.model_name_or_path m --reward.remote_url f.py --logger.wandb.run_name r --vllm.num_engines 8"
    lines = "\n".join(f"{common} {flags}" for flags in COMMAND_LINES)
    stock, patched = (
        run_python("-c", STUB_FLASH_ATTN + SHOW_ARGS, first_on_path=site, stdin=lines) for site in (stock_site, SITE)
    )
    seen = [line for line in stock.stdout.splitlines() if line.startswith("ARGS")]
    assert len(seen) == len(set(seen)) == len(COMMAND_LINES), stock.stderr
    assert [line for line in patched.stdout.splitlines() if line.startswith("ARGS")] == seen, patched.stderr


# The weight sync of both sides; what lies below it (GPU, NCCL, Ray, vLLM) is replaced by what writes down its calls.
WEIGHT_SYNC = """
import ray
import torch.distributed
import vllm.distributed.device_communicators.pynccl as pynccl
import vllm.distributed.utils
from deepspeed.accelerator import set_accelerator
from deepspeed.accelerator.cuda_accelerator import CUDA_Accelerator
from types import SimpleNamespace as Space

set_accelerator(CUDA_Accelerator())
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer
from openrlhf.trainer.ray.vllm_worker_wrap import WorkerWrap

def noted(name, result=None):
    def call(*args, **kwargs):
        print("CALL", name, [str(a) for a in args], {key: str(value) for key, value in kwargs.items()})
        return result
    return call

class Nccl:
    def __init__(self, group, device):  # an index is a CUDA device, as in vLLM's
        noted("PyNccl")(group, torch.device("cuda", device) if isinstance(device, int) else torch.device(device))
    broadcast = staticmethod(noted("PyNccl.broadcast"))

torch.manual_seed(0)
actor = Space(model=Space(module=torch.nn.Linear(2, 2)))
torch.empty = lambda *shape, device, dtype: noted("empty", torch.zeros(*shape, dtype=dtype))(torch.device(device).type)
torch.cuda.empty_cache = noted("empty_cache")
torch.cuda.synchronize = lambda device=None: noted("synchronize")(device)
torch.cuda.current_stream = lambda device=None: "stream"
torch.cuda.current_device = lambda: 0
torch.distributed.get_rank = lambda: 0
torch.distributed.is_initialized = lambda: True
torch.distributed.barrier = noted("barrier")
pynccl.PyNcclCommunicator = Nccl
# The trainer's port is any that is free.
vllm.distributed.utils.StatelessProcessGroup = Space(create=lambda port, **kwargs: noted("group", "group")(**kwargs))
ray._private.services.get_node_ip_address = lambda: "host"
ray.get = lambda refs: None

for backend in ("nccl", "gloo"):
    print("CALL", backend)
    worker = WorkerWrap()
    worker.device, worker.model_config = torch.device("cuda", 0), Space(dtype=torch.float32)
    worker.model_runner = Space(model=Space(load_weights=lambda weights: noted("load")(*[n for n, _ in weights])))
    worker.init_process_group("host", 1, 1, 2, "openrlhf", backend=backend)
    worker.update_weight("weight", torch.float32, (2, 2))
    init = lambda host, port, *args, **kwargs: noted("init")(host, *args, **kwargs)
    engine = Space(init_process_group=Space(remote=init), update_weight=Space(remote=noted("update")))
    trainer = ActorPPOTrainer.__new__(ActorPPOTrainer)
    sync = Space(num_engines=1, tensor_parallel_size=1, sync_with_ray=False)
    trainer.strategy = Space(args=Space(vllm=sync, ds=Space(zero_stage=2, tensor_parallel_size=1)))
    trainer.vllm_engines, trainer.use_cuda_ipc = [engine], False
    trainer.actor = actor
    trainer._init_vllm_sync_group(backend)
    trainer.broadcast_to_vllm()
"""


def test_on_a_gpu_the_weights_go_to_the_engines_by_stocks_own_calls(stock_site):
    stock, patched = (
        run_python("-c", STUB_FLASH_ATTN + WEIGHT_SYNC, first_on_path=site) for site in (stock_site, SITE)
    )
    seen = [line for line in stock.stdout.splitlines() if line.startswith("CALL")]
    assert sum("PyNccl.broadcast" in line for line in seen) == 2 * 3, stock.stderr
    assert seen[len(seen) // 2 + 1 :] == [line.replace("'nccl'", "'gloo'") for line in seen[1 : len(seen) // 2]]
    assert [line for line in patched.stdout.splitlines() if line.startswith("CALL")] == seen, patched.stderr


BROKEN = "undefined symbol: _ZN3c105ErrorC2E"
# Each command's own code up to the call of train().
SHOW_WARNINGS = """
import importlib, sys
for line in sys.stdin.read().split("\\n"):
    command, *sys.argv[1:] = line.split()
    source = open(importlib.import_module("openrlhf.cli." + command).__file__).read()
    print("RUN", line)
    code = compile(source.replace("\\n    train(", "\\n    print("), command, "exec")
    exec(code, {"__name__": "__main__"})
"""


def test_flags_that_ask_for_a_broken_flash_attn_are_named_once(tmp_path):
    """Stock does not start without flash-attn; patched it trains without, but only if it says so."""
    for path, text in {
        "flash_attn/__init__.py": f"raise ImportError({BROKEN!r})",
        "flash_attn-2.8.3.dist-info/METADATA": "Name: flash-attn\nVersion: 2.8.3\n",
        "flash_attn-2.8.3.dist-info/top_level.txt": "flash_attn\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "openrlhf").symlink_to(SITE / "openrlhf")
    ppo = "--actor.model_name_or_path m --reward.remote_url f.py --vllm.num_engines 8"
    asked = {
        f"train_ppo_ray {ppo} --ds.attn_implementation eager": None,
        f"train_ppo_ray {ppo}": "--ds.attn_implementation flash_attention_2",
        f"train_ppo_ray {ppo} --ds.attn_implementation sdpa --ds.packing_samples": "--ds.packing_samples",
        "train_dpo --ds.packing_samples": "--ds.packing_samples and --ds.attn_implementation flash_attention_2",
        "train_sft --ds.packing_samples --ds.attn_implementation eager": "--ds.packing_samples",
        "train_rm --ds.attn_implementation sdpa": None,
    }
    done = run_python("-c", SHOW_WARNINGS, first_on_path=tmp_path, stdin="\n".join(asked))
    assert done.returncode == 0, done.stderr
    runs = done.stdout.split("RUN ")[1:]
    assert [run.splitlines()[0] for run in runs] == list(asked)
    why = f"asked for flash_attn, which cannot be imported (ImportError: {BROKEN})"
    for run, flags in zip(runs, asked.values(), strict=True):
        said = [line for line in run.splitlines() if "flash_attn, which" in line]
        assert len(said) == (flags is not None)
        assert all(line.startswith(f"[Warning] {flags} {why}: samples are packed without it") for line in said)


def test_openrlhfs_own_tests_pass_on_the_patched_package():
    # Other packages leave a folder of this name too, so the files are those that OpenRLHF's wheel recorded.
    own = [str(locate().root / file) for file in files("openrlhf") if str(file).startswith("tests/test_")]
    assert len(own) > 10
    result = run_python("-m", "pytest", *own, "-q", "-p", "no:cacheprovider", first_on_path=SITE)
    assert result.returncode == 0, result.stdout[-3000:]
    assert " passed" in result.stdout
