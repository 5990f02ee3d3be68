"""cli.explore on the real engines, and what it refuses before it starts any."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from transformers import AutoModelForCausalLM

from openrlhf_marge.arithmetic.model import build_tokenizer
from openrlhf_marge.arithmetic.problems import split_problems
from openrlhf_marge.arithmetic.task import write_jsonl
from openrlhf_marge.cli.explore import main
from openrlhf_marge.data.dump import candidates_path, dump_files
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.exploration.flags import FLAGS, make_parser
from openrlhf_marge.host.rollout.tokens import encode
from openrlhf_marge.host.standalone import engines
from openrlhf_marge.method.search import step_of
from openrlhf_marge.method.self_evaluation import make_question
from openrlhf_marge.runs.warm_client import warmed

EXPLORE = [sys.executable, "-m", "openrlhf_marge.cli.explore"]
END_SECONDS = 300


def flags(task, out, more=""):
    return f"""
        --out {out} --actor.model_name_or_path {task.folder}/model --data.prompt_dataset {task.folder}/train.jsonl
        --data.label_key label --data.apply_chat_template --data.max_len 64 --rollout.max_new_tokens 24
        --rollout.n_samples_per_prompt 4 --marge.n_candidates 8 --reward.remote_url {task.folder}/reward.py
        --vllm.enforce_eager --train.full_determinism_enable --problems_per_file 4 --problems_in_flight 4 {more}
    """.split()


def explore(task, out, environment, more=""):
    done = subprocess.run(
        warmed([*EXPLORE, *flags(task, out, more)], environment),
        env=environment,
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def explore_and_kill(task, out, environment, more=""):
    """SIGKILL once a file is written and the journal of another has begun."""
    process = subprocess.Popen(
        warmed([*EXPLORE, *flags(task, out, more)], environment),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + END_SECONDS
        while time.monotonic() < end and process.poll() is None:
            if list(out.glob("rollout-*.parquet")) and list((out / "unfinished").glob("*.jsonl")):
                break
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return process.returncode


def test_an_exploration_killed_on_two_engines_goes_on_and_loses_and_repeats_no_state(task, tmp_path, cluster):
    write_jsonl(split_problems(seed=1, num_train=64, num_heldout=4)[0], tmp_path / "train.jsonl")
    more = f"--data.prompt_dataset {tmp_path}/train.jsonl"
    killed = tmp_path / "killed"
    assert explore_and_kill(task, killed, cluster, f"{more} --vllm.num_engines 2") == -signal.SIGKILL
    kept = {path: path.read_bytes() for path in dump_files(killed)}
    assert 0 < len(kept) < 16
    said = explore(task, killed, cluster, more)  # on one engine: that changes where, and not what
    assert "vLLM engine 0: batch-invariant" in said
    assert all(path.read_bytes() == content for path, content in kept.items())
    explore(task, tmp_path / "undisturbed", cluster, more)
    files, undisturbed = dump_files(killed), dump_files(tmp_path / "undisturbed")
    assert [f.name for f in files] == [f.name for f in undisturbed] and len(files) == 16
    assert [f.name for f, g in zip(files, undisturbed, strict=True) if f.read_bytes() != g.read_bytes()] == []
    groups = [g for path in files for g in read_groups(path)]
    assert set(Counter((g.problem.id, g.state.prefix_ids) for g in groups).values()) == {1}
    summary = json.loads((killed / "summary.json").read_text())
    assert summary == json.loads((tmp_path / "undisturbed" / "summary.json").read_text())
    assert f"64 problems, {len(groups)} states, {4 * len(groups)} completions" in said
    # The next exploration has guidance already, and needs no candidates.
    explore(task, tmp_path / "next", cluster, f"{more} --guidance_from {killed} --data.max_samples 8")
    assert json.loads((tmp_path / "next" / "summary.json").read_text())["candidate_tokens"] == 0


def test_a_search_by_the_models_judgement_has_the_probabilities_of_the_model(task, tmp_path, cluster):
    more = """--marge.explore mcts_dpo --marge.mcts_value self_evaluation --marge.mcts_step_tokens 8
        --data.max_samples 2 --data.max_len 256 --rollout.max_new_tokens 180 --ds.param_dtype fp32"""
    explore(task, tmp_path / "out", cluster, more)
    (file,) = dump_files(tmp_path / "out")
    probes = list(read_groups(candidates_path(file)))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(probes) == summary["probe_tokens"] > 4
    asked = make_question(partial(encode, build_tokenizer()))
    model = AutoModelForCausalLM.from_pretrained(task.folder / "model", dtype=torch.float32)
    for probe in probes:
        ids = torch.tensor([[*probe.problem.prompt_ids, *probe.state.prefix_ids, *asked.ids]])
        probability = model(ids).logits[0, -1].softmax(-1)[asked.option].item()
        assert probe.value == pytest.approx(probability, rel=1e-3)
    # They are the values of the steps, to which the end of a response adds its outcome.
    values = {(p.problem.id, p.state.prefix_ids): p.value for p in probes}
    steps = [
        (step, values[g.problem.id, g.state.prefix_ids + c.token_ids[: step.tokens]])
        for g in read_groups(file)
        for c in g.completions
        if (step := step_of(dict(c.extra_logs))) and step.tokens < len(c.token_ids)
    ]
    assert steps and all(step.value == value for step, value in steps)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("--data.prompt_dataset /no.jsonl", "--data.prompt_dataset /no.jsonl: there is no such file"),
        ("--data.label_key gold", "has no column 'gold' (--data.label_key)"),
        ("--actor.model_name_or_path /no/model", "be loaded: there is no such folder, and as a name on the hub: "),
        ("--reward.remote_url /no.py", "--reward.remote_url /no.py: there is no such file"),
        ("--guidance_from /no/run", "/no/run holds no finished exploration"),
        ("--marge.n_candidates 0", "--marge.n_candidates is 0; it must be at least 1"),
        ("--data.input_template {}", "--data.input_template does not work with --data.apply_chat_template"),
        ("--data.max_len 8", "none of the 16 problems leaves room for a response: --data.max_len must be more than"),
        ("--marge.split words", "--marge.split is 'words'; it must be one of step, tokens"),
        ("--marge.explore mcts_dpo", "--marge.mcts_step_tokens 128 is as long as the longest response, 24 tokens"),
        (
            "--marge.explore mcts_dpo --marge.mcts_step_tokens 8 --marge.mcts_value self_evaluation",
            "--marge.mcts_value self_evaluation asks in",
        ),
        ("--marge.explore mcts_dpo --marge.mcts_actions 5", "--marge.mcts_actions 5 is above --rollout.n_samples"),
        ("--marge.explore spo_tree --marge.spo_segment 24", "--marge.spo_segment is as long as the longest response"),
    ],
)
def test_bad_input_is_one_sentence_and_no_engine(task, tmp_path, capsys, more, sentence):
    assert main(flags(task, tmp_path / "out", more)) == 2
    assert sentence in capsys.readouterr().err.partition("explore: error: ")[2]


def test_an_engine_that_does_not_start_is_one_sentence_that_says_where_to_look(monkeypatch):
    def get(answer):
        raise engines.ray.exceptions.RayError("The actor died\n  File x.py\nRuntimeError: no memory\n")

    monkeypatch.setattr(engines.ray, "get", get)
    monkeypatch.setattr(engines, "_logs", lambda: "RAY/logs")
    engine = SimpleNamespace(get_num_unfinished_requests=SimpleNamespace(remote=lambda: None))
    with pytest.raises(RuntimeError) as error:
        engines._await_start([engine], "MODEL")
    assert str(error.value) == (
        "vLLM engine 0 did not start with the model MODEL: RuntimeError: no memory (what the engine printed is in the "
        "newest worker-*.out of RAY/logs, on the node of the engine)"
    )


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("--vllm.num_engines 0", "--vllm.num_engines is 0; it must be at least 1"),
        ("--marge.dump_dir d", "unrecognized arguments: --marge.dump_dir d"),
        ("--ds.param_dtype int8", "--ds.param_dtype is 'int8'; it must be one of bf16, fp16, fp32"),
        ("--rollout.temperature nan", "--rollout.temperature is no number above 0"),
        ("--rollout.temperature -1", "--rollout.temperature is no number above 0"),
        ("--rollout.top_p nan", "--rollout.top_p is a share of the probability"),
        ("--adam.lr 1", "unrecognized arguments: --adam.lr 1"),
        ("--marge.reward x", "--marge.reward does not work with --reward.remote_url"),
    ],
)
def test_flags_that_have_no_place_here_are_refused(task, tmp_path, capsys, more, sentence):
    with pytest.raises(SystemExit, match="2"):
        main(flags(task, tmp_path / "out", more))
    assert sentence in capsys.readouterr().err


def test_a_grader_that_fails_stops_the_exploration_and_says_that_it_goes_on(task, tmp_path, cluster):
    reward = tmp_path / "reward.py"
    reward.write_text("def reward_func(queries, prompts, labels):\n    raise OSError('the disk is full')\n")
    command = warmed([*EXPLORE, *flags(task, tmp_path / "out", f"--reward.remote_url {reward}")], cluster)
    done = subprocess.run(command, env=cluster, capture_output=True, text=True, timeout=END_SECONDS)
    assert done.returncode == 1
    assert "the disk is full" in (said := done.stderr.strip().splitlines()[-1])
    assert said.startswith("explore: error: --reward.remote_url") and said.endswith("goes on where it was")
    assert not (tmp_path / "out" / "summary.json").exists()


def test_more_engines_than_the_cluster_has_gpus(task, tmp_path, cluster):
    command = warmed([*EXPLORE, *flags(task, tmp_path / "out", "--vllm.num_engines 99")], cluster)
    done = subprocess.run(command, env=cluster, capture_output=True, text=True, timeout=END_SECONDS)
    assert done.returncode == 2
    assert "size 1 need 99 GPUs, and the Ray cluster has 6; ask for fewer, or start a larger" in done.stderr


def test_flags_mean_what_they_mean_in_a_launch_script(monkeypatch, capsys):
    """Names and types; defaults where the paper does not say otherwise."""
    from openrlhf.cli import train_ppo_ray

    monkeypatch.setattr(sys, "argv", ["train_ppo_ray", "--help"])
    with pytest.raises(SystemExit, match="0"):
        train_ppo_ray.parse_args()
    there = capsys.readouterr().out
    assert [name for name in FLAGS if f"--{name}" not in there] == []
    assert "--marge.advantage" not in make_parser().format_help()
