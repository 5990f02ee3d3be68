"""cli.marge_dpo with the real engines and OpenRLHF's own train_dpo and train_sft."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch

from openrlhf_marge.arithmetic import pretrain
from openrlhf_marge.cli import figures, model_card, report
from openrlhf_marge.cli.marge_dpo import main
from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.runs.log import read_series

from stack import REWARD

LOOP_SECONDS = 600
PRETRAIN_STEPS = 150  # enough to write steps and an end; most answers are wrong


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Folder with a model that ends its responses, its problems, and a grader of which half are correct."""
    folder = tmp_path_factory.mktemp("base")
    torch.set_num_threads(1)  # more wait for each other where another test computes, too
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain, "NUM_STEPS", PRETRAIN_STEPS)
        patch.setattr(pretrain, "MAX_ROUNDS", 1)
        patch.setattr(pretrain, "NUM_HELDOUT", 8)
        pretrain.pretrain(folder, seed=0)
    (folder / "reward.py").write_text(REWARD)
    return folder


def command(base: Path, out: Path, more: str, stages: dict[str, str]) -> list[str]:
    flags = {
        "explore": f"""
            --data.prompt_dataset {base}/train.jsonl --data.label_key label --data.apply_chat_template
            --data.max_len 96 --data.max_samples 12 --vllm.enforce_eager --marge.n_candidates 8
            --reward.remote_url {base}/reward.py --train.full_determinism_enable
        """,
        "pairs": "",
        "train": """
            --ds.zero_stage 0 --ds.attn_implementation eager --train.batch_size 4 --train.micro_batch_size 4
            --train.max_epochs 1 --adam.lr 1e-4
        """,
        "evaluate": "--max_len 96 --n 2 --k 2",
    }
    words = ["--model", f"{base}/model", "--heldout", f"{base}/heldout.jsonl", "--out", str(out), *more.split()]
    for stage, text in flags.items():
        words += [f"--{stage}", f"{text} {stages.get(stage, '')}"]
    return words


def run(base, out, more, environment, **stages):
    words = [sys.executable, "-m", "openrlhf_marge.cli.marge_dpo", *command(base, out, more, stages)]
    done = subprocess.run(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LOOP_SECONDS
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return json.loads((out / "summary.json").read_text()), done.stdout


def run_and_stop(base, out, more, environment, until: Path):
    """SIGTERM to the loop as soon as ``until`` is there; its stage must end with it."""
    words = [sys.executable, "-m", "openrlhf_marge.cli.marge_dpo", *command(base, out, more, {})]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + LOOP_SECONDS
        while not until.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=LOOP_SECONDS)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def test_two_iterations_of_marge_dpo_stopped_while_exploring(base, tmp_path, cluster):
    out = tmp_path / "out"
    more = "--kind marge --iterations 2 --patience 0"
    run_and_stop(base, out, more, cluster, until=out / "iteration_1" / "explore" / "settings.json")
    assert (out / "iteration_0" / "heldout.json").exists() and not (out / "summary.json").exists()
    summary, said = run(base, out, more, cluster)
    assert "iteration_0" not in said
    assert [i["explored"]["problems"] for i in summary["iterations"]] == [12, 12]
    assert {"pass@1", "pass@2"} <= summary["before"].keys() & summary["after"].keys()
    first, second = out / "iteration_1", out / "iteration_2"
    for folder, explored in zip((first, second), summary["iterations"], strict=True):
        # All its rows and no others: a loader that caches by name would give it those of another iteration.
        assert f"num_rows: {explored['rows']}\n" in (folder / "train.log").read_text()
        losses = read_series(folder / "tensorboard")["train/loss"]
        assert len(losses) == explored["rows"] // 4
        # The reference is the policy itself: before the first step both find all the same.
        assert losses[0][1] == pytest.approx(0.6931, abs=0.01)
    # Guidance goes on: candidates only for problems that have none yet.
    candidates = [i["explored"]["candidate_tokens"] for i in summary["iterations"]]
    assert candidates[1] < candidates[0] / 2
    states = [g.state for path in dump_files(second / "explore") for g in read_groups(path)]
    assert all(s.guidance.visit == 0 for s in states)  # sampled by the visit of the first iteration
    assert len({weights(model) for model in (first / "model", second / "model", base / "model")}) == 3
    look_at(out, second)


def look_at(run: Path, last: Path) -> None:
    """The other commands on a loop of the stack."""
    assert figures.main([str(run), "--out", str(run / "figures")]) == 0
    assert {"fig3.png", "fig4.png", "fig5a.csv", "fig5b.png"} <= {path.name for path in (run / "figures").iterdir()}
    assert report.main([str(run), "--model", str(last / "model")]) == 0
    assert "iteration_2/explore" in (run / "report.html").read_text()
    assert model_card.main([str(run), "--model", str(last / "model")]) == 0
    assert "| heldout | pass@2 | 0." in (last / "model" / "README.md").read_text()


def weights(model: Path) -> bytes:
    return (model / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("kind", "column", "explore"),
    [
        ("self_explore", "rejected", ""),
        ("sft", "response", ""),
        ("mcts_steps", "label_smoothing", "--marge.mcts_step_tokens 24"),
    ],
)
def test_its_relatives_train_too(base, tmp_path, cluster, kind, column, explore):
    summary, _ = run(base, tmp_path, f"--kind {kind} --iterations 1", cluster, explore=explore)
    rows = [json.loads(line) for line in (tmp_path / "iteration_1" / "pairs" / "train.jsonl").open()]
    assert len(rows) == summary["iterations"][0]["rows"] >= 4
    assert all(row[column] for row in rows)
    assert (tmp_path / "iteration_1" / "model" / "config.json").is_file()
    assert weights(tmp_path / "iteration_1" / "model") != weights(base / "model")


def test_a_stage_that_fails_is_named_with_the_end_of_its_log(base, tmp_path, cluster, monkeypatch, capsys):
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "iteration_0").mkdir()
    (tmp_path / "iteration_0" / "heldout.json").mkdir()  # so that the result cannot be written
    assert main(command(base, tmp_path, "--iterations 1", {})) == 1
    said = capsys.readouterr().err
    assert f"evaluate of {tmp_path}/iteration_0 failed with exit code" in said
    assert "heldout.json" in said and said.endswith("the same command goes on there\n") and said.count("\n") == 1


def test_a_flag_that_openrlhf_does_not_know_is_found_before_anything_runs(base, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(os.environ, "DS_ACCELERATOR", "cpu")
    assert main(command(base, tmp_path / "out", "", {"train": "--adam.lrr 1"})) == 2
    assert "--train holds --adam.lrr, which openrlhf.cli.train_dpo does not know" in capsys.readouterr().err
    assert main(command(base, tmp_path / "out", "", {"train": "--adam.lr x"})) == 2
    assert "--train does not work: train_dpo.py: error: argument --adam.lr: invalid float" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
