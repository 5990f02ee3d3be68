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
    for info in SITE.glob("openrlhf-*.dist-info"):
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


def test_openrlhfs_own_tests_pass_on_the_patched_package():
    # Other packages leave a folder of this name too, so the files are those that OpenRLHF's wheel recorded.
    own = [str(SITE / file) for file in files("openrlhf") if str(file).startswith("tests/test_")]
    assert len(own) > 10
    result = run_python("-m", "pytest", *own, "-q", "-p", "no:cacheprovider", first_on_path=SITE)
    assert result.returncode == 0, result.stdout[-3000:]
    assert " passed" in result.stdout
