"""The 8-GPU launch scripts: their flags, against the real parser."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf.cli.train_ppo_ray import parse_args

from openrlhf_marge.compare import read_plan
from openrlhf_marge.compare.commands import launch_flags, loop_flags
from openrlhf_marge.compare.notes import schedule_notes
from openrlhf_marge.loop import KINDS
from openrlhf_marge.loop.flags import make_loop
from openrlhf_marge.loop.flags import parse_args as marge_dpo_args

SCRIPTS = Path(__file__).parents[1] / "examples" / "scripts"
PATH = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])  # where python3 has the package
ESTIMATORS = {"marge": "group_norm", "grpo": "group_norm", "ppo": "gae", "reinforce_pp": "reinforce"}


@pytest.fixture
def parsed(tmp_path, monkeypatch):
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)  # they are for GPUs
    data = tmp_path / "train.jsonl"
    data.write_text(json.dumps({"input": "q", "label": "1"}) + "\n")

    def parse(name: str):
        done = subprocess.run(
            ["bash", str(SCRIPTS / f"qwen2_7b_{name}.sh")],
            env=os.environ | {"DATA": str(data), "DRY_RUN": "1", "PATH": PATH},
            capture_output=True,
            text=True,
            check=True,
        )
        return parse_args(done.stdout.splitlines())

    return parse


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_script_is_a_launch_that_openrlhf_accepts(parsed, name):
    args = parsed(name)
    assert args.algo.advantage.estimator == ESTIMATORS[name]
    assert (args.rollout.n_samples_per_prompt, args.data.max_len, args.algo.kl.init_coef) == (8, 2048, 0.01)
    assert args.reward.remote_url[0].endswith("reward_func.py")


def test_a_script_submits_its_flags_and_notes_them_for_the_other_commands(tmp_path):
    fake = tmp_path / "bin" / "ray"
    fake.parent.mkdir()
    fake.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    environment = {"DATA": "a data file.jsonl", "OUT": f"{tmp_path}/a run", "PATH": f"{fake.parent}:{PATH}"}
    done = subprocess.run(
        ["bash", str(SCRIPTS / "qwen2_7b_marge.sh")], env=os.environ | environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    flags = done.stdout.splitlines()[8:]
    assert done.stdout.splitlines()[5:8] == ["python3", "-m", "openrlhf.cli.train_ppo_ray"]
    summary = json.loads((tmp_path / "a run" / "summary.json").read_text())
    assert summary == {"method": "marge", "training_flags": flags}
    assert flags[flags.index("--data.prompt_dataset") + 1] == "a data file.jsonl"


@pytest.mark.parametrize("name", ["marge", "marge_dpo"])
def test_the_key_of_wandb_stays_in_the_environment(tmp_path, name):
    data = tmp_path / "train.jsonl"
    data.write_text(json.dumps({"input": "q", "label": "1"}) + "\n")
    key = "0123456789abcdef0123456789abcdef01234567"
    environment = {"DATA": str(data), "HELDOUT": str(data), "DRY_RUN": "1", "PATH": PATH, "WANDB_API_KEY": key}
    command = ["bash", str(SCRIPTS / f"qwen2_7b_{name}.sh")]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    assert "--logger.wandb.key WANDB_API_KEY" in " ".join(done.stdout.split()) and key not in done.stdout + done.stderr
    # Where the variable is set, OpenRLHF leaves the flag alone: it logs in only when W&B knows no key.
    check = "import sys, wandb; sys.exit(not wandb.api.api_key)"
    assert subprocess.run([sys.executable, "-c", check], env=os.environ | {"WANDB_API_KEY": key}).returncode == 0


def test_the_noted_flags_have_no_secrets(tmp_path):
    (tmp_path / "ray").write_text("#!/bin/bash\n")
    (tmp_path / "ray").chmod(0o755)
    environment = {"DATA": "d.jsonl", "OUT": f"{tmp_path}/run", "PATH": f"{tmp_path}:{PATH}"}
    command = ["bash", str(SCRIPTS / "qwen2_7b_grpo.sh"), "--logger.wandb.key", "a-key"]
    subprocess.run(command, env=os.environ | environment, check=True)
    flags = json.loads((tmp_path / "run" / "summary.json").read_text())["training_flags"]
    assert flags[-2:] == ["--logger.wandb.key", "***"]


def test_marge_has_the_settings_of_app_b1(parsed):
    args = parsed("marge")
    assert (args.experience_maker, args.marge.split, args.marge.n_candidates) == ("marge", "step", 32)
    assert (args.rollout.batch_size, args.train.batch_size, args.train.max_epochs) == (2048, 1024, 2)
    assert (args.rollout.temperature, args.rollout.top_p, args.actor.adam.lr) == (0.8, 0.95, 1e-6)


def test_the_grpo_baseline_differs_from_marge_by_the_experience_maker_alone(parsed):
    marge, grpo = parsed("marge"), parsed("grpo")
    assert grpo.experience_maker == "default"
    for section in ("rollout", "train", "actor", "critic", "vllm", "ds", "data", "algo", "reward"):
        assert str(getattr(marge, section)) == str(getattr(grpo, section)), section


@pytest.mark.parametrize(("name", "rollout"), [("ppo", 64), ("reinforce_pp", 128)])
def test_baselines_have_the_settings_of_table_6(parsed, name, rollout):
    args = parsed(name)
    assert (args.rollout.batch_size, args.train.batch_size) == (rollout, 512)
    assert (args.rollout.temperature, args.rollout.top_p) == (1.0, 1.0)
    assert (args.actor.adam.lr, args.critic.adam.lr, args.actor.eps_clip) == (5e-7, 9e-6, 0.2)


@pytest.mark.parametrize("kind", ["marge", "self_explore", "outcome", "sft", "mcts", "mcts_steps"])
@pytest.mark.usefixtures("warm_commands")
def test_the_dpo_script_is_a_loop_whose_flags_every_command_accepts(tmp_path, kind):
    data = tmp_path / "a data file.jsonl"
    data.write_text(json.dumps({"input": "q", "label": "1"}) + "\n")
    environment = {"DATA": str(data), "HELDOUT": str(data), "KIND": kind}
    done = subprocess.run(
        ["bash", str(SCRIPTS / "qwen2_7b_marge_dpo.sh")], env=os.environ | environment | {"DRY_RUN": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = done.stdout.splitlines()
    assert words[:3] == ["python3", "-m", "openrlhf_marge.cli.marge_dpo"]
    loop = make_loop(marge_dpo_args(words[3:]))
    assert (loop.kind, loop.max_len, loop.iterations) == (KINDS[kind], 2048, 10)
    assert loop.flags.explore[1] == str(data)
    assert loop.batch_size == {"sft": 128, "mcts": 64, "mcts_steps": 64}.get(kind, 256)


@pytest.mark.parametrize("name", ["table3", "table4", "table5", "cpu"])
@pytest.mark.usefixtures("warm_commands")
def test_every_compare_file_is_made_of_runs_that_the_commands_accept(tmp_path, monkeypatch, name):
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"input": "q", "label": "1"}) + "\n")
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    accelerator = {"DS_ACCELERATOR": "cpu"} if name == "cpu" else {}
    for variable, value in {"MODEL": "M", "DATA": data, "HELDOUT": data, **accelerator}.items():
        monkeypatch.setenv(variable, str(value))
    for seed in range(3):
        folder = tmp_path / "base" / f"seed_{seed}"
        folder.mkdir(parents=True)
        (folder / "train.jsonl").write_text(data.read_text())
    plan = read_plan(SCRIPTS.parent / "compare" / f"{name}.toml", tmp_path)
    assert schedule_notes(plan) == []
    for run in plan.runs:
        if run.method.is_looped:
            make_loop(marge_dpo_args(loop_flags(plan, run)))
        elif run.method.kind:
            args = parse_args(launch_flags(plan, run))
            assert args.experience_maker == ("marge" if run.method.kind == "marge" else "default")
