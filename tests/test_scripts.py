"""The launches for GPUs, of all backbones: their flags, against the real parser, and the data that they train on."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import datasets
from openrlhf.cli.train_ppo_ray import parse_args
from openrlhf.datasets.prompts_dataset import preprocess_data
from transformers import LlamaConfig, MistralConfig, Qwen2Config

from openrlhf_marge.compare import read_plan
from openrlhf_marge.compare.checks import check
from openrlhf_marge.compare.commands import evaluate_flags, launch_flags, loop_flags
from openrlhf_marge.compare.evaluation_checks import flags_of_run
from openrlhf_marge.compare.launch_notes import schedule_notes
from openrlhf_marge.compare.starts import with_stand_in
from openrlhf_marge.data.rows import Row
from openrlhf_marge.evaluation import render_prompt
from openrlhf_marge.evaluation.checkpoints import CHECKPOINTS
from openrlhf_marge.evaluation.data_sets import DataSet
from openrlhf_marge.evaluation.flags import parse_args as evaluation_args
from openrlhf_marge.evaluation.prompts import SENTENCE
from openrlhf_marge.grading import grade
from openrlhf_marge.loop import KINDS
from openrlhf_marge.loop.flags import make_loop
from openrlhf_marge.loop.flags import parse_args as marge_dpo_args
from openrlhf_marge.prefix_sharing.models import why_not

SCRIPTS = Path(__file__).parents[1] / "examples" / "scripts"
sys.path.append(str(SCRIPTS))

import launches  # noqa: E402
import paper_tables  # noqa: E402
import train  # noqa: E402
import training_data  # noqa: E402
from backbones import BACKBONES  # noqa: E402

from cpu_hardware import CPU  # noqa: E402

PAPER = tuple(name for name in BACKBONES if name != "qwen25_05b_gsm8k")
RL = [(name, method) for name, backbone in BACKBONES.items() for method in backbone.methods if method in launches.KIND]
ESTIMATORS = {"marge": "group_norm", "grpo": "group_norm", "ppo": "gae", "reinforce_pp": "reinforce"}
ROW = {"problem": "What is {1}+1?", "input": "What is {1}+1? Box it.", "label": "2"}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)  # they are for GPUs
    path = tmp_path / "a data file.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    return str(path)


@pytest.fixture
def parsed(data):
    def parse(backbone: str, method: str):
        return parse_args(launches.launch(BACKBONES[backbone], method, "M", data, "runs/r"))

    return parse


@pytest.fixture
def run(tmp_path, data):
    """train.py with a ``ray`` that prints its words, each with a zero: (words, environment) -> what was printed."""
    fake = tmp_path / "bin" / "ray"
    fake.parent.mkdir()
    fake.write_text('#!/bin/bash\nprintf "%s\\0" "$@"\n')
    fake.chmod(0o755)
    environment = os.environ | {"DATA": data, "HELDOUT": data, "PATH": f"{fake.parent}:{os.environ['PATH']}"}

    def run(*words: str, **more: str) -> str:
        command = [sys.executable, str(SCRIPTS / "train.py"), *words]
        return subprocess.run(command, env=environment | more, capture_output=True, text=True, check=True).stdout

    return run


@pytest.mark.parametrize(("backbone", "method"), RL)
def test_every_launch_is_one_that_openrlhf_accepts(parsed, backbone, method):
    args = parsed(backbone, method)
    assert args.algo.advantage.estimator == ESTIMATORS[method]
    assert args.experience_maker == ("marge" if method == "marge" else "default")
    assert (args.rollout.n_samples_per_prompt, args.algo.kl.init_coef) == (8, 0.01)
    assert args.reward.remote_url[0].endswith("reward_func.py")
    assert (args.actor.num_gpus_per_node, args.vllm.num_engines) == ((8, 8) if backbone in PAPER else (1, 1))


SETTINGS = {  # App. B.1 and E: splitter, states, candidates, chat template
    "qwen2_7b": ("step", 4.42, 32, True),
    "qwen25_7b": ("step", 9.08, 32, True),
    "llama31_8b": ("tokens", 5, 24, True),
    "metamath_7b": ("tokens", 5, 24, False),
    "qwen25_math_7b": ("tokens", 5, 24, True),
}


@pytest.mark.parametrize("name", PAPER)
def test_marge_has_the_settings_of_app_b1_for_each_backbone(parsed, name):
    args = parsed(name, "marge")
    marge, found = args.marge, BACKBONES[name]
    told = (marge.split, marge.expected_states, marge.n_candidates, args.data.apply_chat_template)
    assert told == SETTINGS[name] and marge.n_states == 5
    assert (args.rollout.batch_size, args.train.batch_size, args.train.max_epochs) == (2048, 1024, 2)
    assert (args.rollout.temperature, args.rollout.top_p, args.actor.adam.lr) == (0.8, 0.95, 1e-6)
    assert (args.data.max_len, args.train.num_episodes) == (2048, 10)
    assert found.data in training_data.SOURCES


def test_prefixes_are_shared_where_the_attention_of_the_backbone_allows_it(parsed):
    """MetaMath-Mistral's config has Mistral's sliding window, which prefix sharing refuses."""
    assert why_not(MistralConfig(sliding_window=4096)) and not why_not(LlamaConfig()) and not why_not(Qwen2Config())
    assert {name for name in PAPER if not parsed(name, "marge").marge.share_prefix} == {"metamath_7b"}


def test_a_backbone_is_trained_with_the_prompt_that_it_is_evaluated_with():
    chat, bare = BACKBONES["qwen2_7b"], BACKBONES["metamath_7b"]
    (row,) = training_data.distinct(
        [Row("row 1", {"q": " What is {1}+1? ", "a": 2})], DataSet("", "q", "a"), Counter()
    )
    assert row == {"problem": "What is {1}+1?", "input": f"What is {{1}}+1? {SENTENCE}", "label": "2"}

    def template(messages, **_):
        return messages[0]["content"] if isinstance(messages, list) else messages

    flags = dict(zip(bare.input_flags[::2], bare.input_flags[1::2], strict=True))
    prompt, label = preprocess_data(row, flags["--data.input_template"], flags["--data.input_key"], "label")
    assert (prompt, label) == ("<s> " + render_prompt("alpaca", row["problem"], template), "2")
    prompt, _ = preprocess_data(row, None, chat.input_flags[1], "label", template)
    assert prompt == render_prompt(chat.prompt, row["problem"], lambda message, system: message)


@pytest.mark.parametrize("name", PAPER)
def test_the_grpo_baseline_differs_from_marge_by_the_experience_maker_alone(parsed, name):
    marge, grpo = parsed(name, "marge"), parsed(name, "grpo")
    for section in ("rollout", "train", "actor", "critic", "vllm", "ds", "data", "algo", "reward"):
        assert str(getattr(marge, section)) == str(getattr(grpo, section)), section


@pytest.mark.parametrize(("method", "rollout"), [("ppo", 64), ("reinforce_pp", 128)])
def test_baselines_have_the_settings_of_table_6(parsed, method, rollout):
    args = parsed("qwen2_7b", method)
    assert (args.rollout.batch_size, args.train.batch_size) == (rollout, 512)
    assert (args.rollout.temperature, args.rollout.top_p) == (1.0, 1.0)
    assert (args.actor.adam.lr, args.critic.adam.lr, args.actor.eps_clip) == (5e-7, 9e-6, 0.2)


def test_the_recipe_of_one_gpu_needs_no_candidates_and_whole_groups_fill_its_batches(parsed):
    marge, grpo = (parsed("qwen25_05b_gsm8k", method) for method in ("marge", "grpo"))
    assert (marge.marge.guidance_source, marge.actor.lr_scheduler, marge.data.max_len) == ("fresh", "constant", 1024)
    for args in (marge, grpo):
        assert (args.rollout.batch_size, args.train.batch_size, args.train.max_tokens_per_gpu) == (128, 256, 4096)
        assert (args.rollout.batch_size * args.rollout.n_samples_per_prompt) % args.train.batch_size == 0


def test_a_launch_is_submitted_as_it_is_and_noted_for_the_other_commands(tmp_path, run):
    printed = run("metamath_7b", "marge", "--actor.adam.lr", "5e-7", OUT=f"{tmp_path}/a run")
    flags = printed.split("\0")[8:-1]
    assert printed.split("\0")[5:8] == ["python3", "-m", "openrlhf.cli.train_ppo_ray"]
    summary = json.loads((tmp_path / "a run" / "summary.json").read_text())
    assert summary == {"method": "marge", "training_flags": flags}
    assert flags[flags.index("--data.prompt_dataset") + 1].endswith("/a data file.jsonl")
    assert "### Instruction:\n{}\n" in flags[flags.index("--data.input_template") + 1]
    assert flags[-2:] == ["--actor.adam.lr", "5e-7"]


@pytest.mark.parametrize("method", ["marge", "marge_dpo"])
def test_the_key_of_wandb_stays_in_the_environment(run, method):
    key = "0123456789abcdef0123456789abcdef01234567"
    printed = run("qwen2_7b", method, DRY_RUN="1", WANDB_API_KEY=key)
    assert "--logger.wandb.key WANDB_API_KEY" in printed and key not in printed
    # Where the variable is set, OpenRLHF leaves the flag alone: it logs in only when W&B knows no key.
    check = "import sys, wandb; sys.exit(not wandb.api.api_key)"
    assert subprocess.run([sys.executable, "-c", check], env=os.environ | {"WANDB_API_KEY": key}).returncode == 0


def test_the_noted_flags_have_no_secrets(tmp_path, run):
    run("qwen2_7b", "grpo", "--logger.wandb.key", "a-key", OUT=f"{tmp_path}/run")
    flags = json.loads((tmp_path / "run" / "summary.json").read_text())["training_flags"]
    assert flags[-2:] == ["--logger.wandb.key", "***"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["qwen9", "marge"], "argument backbone: invalid choice: 'qwen9'"),
        (["qwen2_7b", "mcts"], "argument method: invalid choice: 'mcts'"),
        (["qwen25_05b_gsm8k", "ppo"], "qwen25_05b_gsm8k has the methods marge, grpo; name one of them"),
        (["qwen2_7b", "marge"], "set DATA to a JSONL file as examples/scripts/training_data.py writes it"),
        (["qwen2_7b", "sft"], "set HELDOUT to a JSONL file as examples/scripts/training_data.py writes it"),
    ],
)
def test_what_cannot_be_trained_is_a_sentence(monkeypatch, capsys, words, said):
    monkeypatch.setenv("DATA", "d" if words[1] == "sft" else "")
    monkeypatch.delenv("HELDOUT", raising=False)
    with pytest.raises(SystemExit) as e:
        train.main(words)
    assert e.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize(("backbone", "method"), [("metamath_7b", "mcts_step_dpo"), ("qwen25_7b", "sft")])
@pytest.mark.usefixtures("warm_commands")
def test_a_loop_is_one_whose_flags_every_command_accepts(run, data, backbone, method):
    words = shlex.split(run(backbone, method, DRY_RUN="1"))
    assert words[:3] == ["python3", "-m", "openrlhf_marge.cli.marge_dpo"]
    loop = make_loop(marge_dpo_args(words[3:]))
    assert (loop.kind, loop.max_len, loop.iterations) == (KINDS[launches.LOOP_KIND[method]], 2048, 10)
    assert loop.flags.explore[1] == data
    assert loop.batch_size == {"sft": 128, "mcts_step_dpo": 64}.get(method, 256)


def publish(folder, rows):
    datasets.Dataset.from_list(rows).to_parquet(folder / "main" / "train-00000.parquet")
    configs = "configs:\n- config_name: main\n  data_files:\n  - split: train\n    path: main/train-*"
    (folder / "README.md").write_text(f"---\n{configs}\n---\n")


def test_training_problems_are_distinct_have_answers_and_share_none_with_those_held_out(tmp_path, capsys):
    (tmp_path / "main").mkdir()
    rows = [{"question": f"What is {i}+1?", "answer": f"Add.\n#### {i + 1}"} for i in range(20)]
    publish(tmp_path, [*rows, rows[3], {"question": "Why?", "answer": " "}])
    out = tmp_path / "out"
    command = ["--data", f"gsm8k={tmp_path}", "--out", str(out), "--heldout", "5"]
    assert training_data.main(command) == 0
    said = capsys.readouterr().out
    assert "15 training problems, 5 held out" in said
    assert "; 1 that came before were left out; 1 without a problem or an answer were left out" in said
    trained, heldout = ((out / f"{name}.jsonl").read_text() for name in ("train", "heldout"))
    problems = [json.loads(line) for line in (trained + heldout).splitlines()]
    assert sorted(row["problem"] for row in problems) == sorted(row["question"] for row in rows)
    assert all(grade(f"So {eval(row['problem'][8:-1])}.", row["label"]).correct for row in problems)
    assert training_data.main([*command, "--problems", "4"]) == 0
    assert (out / "train.jsonl").read_text() == "".join(trained.splitlines(keepends=True)[:4])
    assert training_data.main([*command, "--heldout", "20"]) == 2
    assert "has 20 problems; --heldout 20 leaves none" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        training_data.main(["--data", "gsm9k", "--out", str(out)])


def both(name):
    """As the paper prompts it, and as its owners do."""
    return [name, f"{name}, own prompt"]


TABLE_1 = ["SFT", "DPO", "PPO", "REINFORCE++", "GRPO"]
PAPER_ROWS = {
    "qwen2_7b": ["Qwen2-7B-Instruct", *TABLE_1, *both("StepDPO-HF"), "MARGE-DPO", "MARGE-RL",
                 "REINFORCE++ on MARGE"],
    "metamath_7b": ["MetaMath-Mistral", *TABLE_1, "MCTS-DPO", "MARGE-RL"],
    "llama31_8b": ["Llama3.1-8B-Instruct", *TABLE_1, "MARGE-RL"],
    "qwen25_7b": ["Qwen2.5-7B-Instruct", "SFT", "DPO", "GRPO", "MARGE-RL"],
    "qwen25_math_7b": ["Qwen2.5-Math-7B-Instruct", "PPO", *both("ACEMath-7B"), *both("PRIME-EURUS-7B"),
                       *both("Qwen2.5-Math-7B-MARGE"), "MARGE-RL"],
}  # fmt: skip


@pytest.mark.parametrize("name", PAPER)
def test_the_compare_files_of_tables_1_and_2_have_their_rows_and_are_made_of_runs_that_the_commands_accept(
    tmp_path, monkeypatch, capsys, data, name
):
    monkeypatch.setenv("MODEL", "M")
    monkeypatch.setenv("DATA", data)
    monkeypatch.setenv("HELDOUT", data)
    (tmp_path / "eurus.md").write_text("Act.")
    monkeypatch.setenv("EURUS_SYSTEM", f"{tmp_path}/eurus.md")
    backbone = BACKBONES[name]
    plan = table(tmp_path, capsys, name)
    assert [method.name for method in plan.methods] == PAPER_ROWS[name]
    assert schedule_notes(plan) == []
    shares = {method.name: method.share for method in plan.methods}
    assert plan.budget.amount == backbone.marge_tokens
    assert all(round(share * backbone.marge_tokens, -6) == round(backbone.vanilla_tokens, -6)
               for row, share in shares.items() if row in ("SFT", "PPO", "REINFORCE++", "GRPO"))  # fmt: skip
    for run in plan.runs:
        if run.method.kind and not run.method.is_looped:
            args = parse_args(launch_flags(plan, with_stand_in(plan, run)))
            assert args.actor.model_name_or_path == "M"
            assert args.experience_maker == ("marge" if run.method.kind == "marge" else "default")
    done = table(tmp_path, capsys, name, "--runs", "runs/a table")
    assert [method.name for method in done.methods] == PAPER_ROWS[name]
    assert done.by_name["MARGE-RL"].run == "runs/a table/MARGE-RL/seed_42"
    prompts = {run.method.name: evaluation_args(flags_of_run(plan, run, tmp_path), "").prompt for run in plan.runs}
    own = {f"{row}, own prompt": checkpoint.prompt for row, checkpoint in CHECKPOINTS.items()}
    assert prompts == {row: own.get(row, backbone.prompt) for row in PAPER_ROWS[name]}
    if "REINFORCE++ on MARGE" in shares:
        assert shares["REINFORCE++ on MARGE"] == 1 + shares["REINFORCE++"]
    for of_table, metrics in ((plan, ["greedy_pass@1"]), (done, ["pass@64"])):
        (flags,) = {tuple(evaluate_flags(of_table, 42, "M", tmp_path / "x"))}
        assert (
            list(of_table.evaluate.metrics) == metrics and evaluation_args(list(flags), "").prompt == backbone.prompt
        )


def test_a_table_of_a_small_stand_in_passes_every_check_before_its_runs(tmp_path, monkeypatch, capsys, task, data):
    """The models and the data are there, so that what compare looks at before it begins is all of it."""
    small = ("--rollout.batch_size", "8", "--rollout.n_samples_per_prompt", "4", "--train.batch_size", "16")
    stand_in = replace(BACKBONES["qwen2_7b"], hardware=CPU, max_len=256, shares_prefixes=False, of_all=small)
    monkeypatch.setitem(BACKBONES, "stand_in", stand_in)
    monkeypatch.setitem(paper_tables.ROWS, "stand_in", ("PPO", "REINFORCE++", "GRPO", "StepDPO-HF"))
    monkeypatch.setitem(paper_tables.CHAINED, "stand_in", "REINFORCE++ on MARGE")
    monkeypatch.setattr(paper_tables, "TABLE_1", ((data,), (data,)))
    for variable, value in {"MODEL": f"{task.folder}/model", "DATA": data, "DS_ACCELERATOR": "cpu"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(task.folder / "model", "StepDPO-HF")
    plan = table(tmp_path, capsys, "stand_in")
    assert [method.name for method in plan.methods] == [
        "Qwen2-7B-Instruct", "PPO", "REINFORCE++", "GRPO", *both("StepDPO-HF"), "MARGE-RL", "REINFORCE++ on MARGE"
    ]  # fmt: skip
    assert list(check(plan)[None]) == [("a data file", "greedy_pass@1")]
    monkeypatch.setenv("MODEL", str(tmp_path))
    with pytest.raises(ValueError, match="the folder holds no weights"):
        check(plan)


@pytest.mark.usefixtures("warm_commands")
def test_the_loops_of_a_compare_file_are_accepted(tmp_path, monkeypatch, capsys, data):
    for variable, value in {"MODEL": "M", "DATA": data, "HELDOUT": data}.items():
        monkeypatch.setenv(variable, value)
    plan = table(tmp_path, capsys, "qwen2_7b")
    loops = [run for run in plan.runs if run.method.is_looped]
    assert [run.method.name for run in loops] == ["SFT", "DPO", "MARGE-DPO"]
    loop = make_loop(marge_dpo_args(loop_flags(plan, loops[-1])))
    assert (loop.kind, loop.iterations, loop.heldout) == (KINDS["marge"], 10, data)


def table(tmp_path, capsys, *words):
    capsys.readouterr()  # of OpenRLHF's parser
    paper_tables.main(list(words))
    (tmp_path / "table.toml").write_text(capsys.readouterr().out)
    return read_plan(tmp_path / "table.toml", tmp_path / "out")


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
