"""cli.plan with OpenRLHF's parser: a whole plan, a run that does not fit, and what is refused."""

import json
import os
import re
from pathlib import Path

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf_marge import MargeConfig
from openrlhf_marge.cli import plan
from openrlhf_marge.data.dump import DumpWriter
from openrlhf_marge.host.standalone.measured_runs import sized
from openrlhf_marge.planning.machines import PRESETS, find_machine
from openrlhf_marge.planning.pilot_of_flags import states_of

from planned_launches import launch
from scripted_dumps import mixed, save_model, visit

QWEN = dict(
    model_type="qwen2", hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
    intermediate_size=4864, vocab_size=151936, tie_word_embeddings=True,
)  # fmt: skip
HAND = ["--prompt_tokens", "100", "--response_tokens", "300"]


@pytest.fixture
def flags(tmp_path, monkeypatch):
    """A launch of 8 GPUs with a model that is there, its weights left out."""
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    (tmp_path / "train.jsonl").write_text('{"input": "q", "label": "1"}\n' * 64)
    model = Path(save_model(tmp_path / "model"))
    (model / "config.json").write_text(json.dumps(QWEN))
    return f"""
        --experience_maker marge --actor.model_name_or_path {model} --data.prompt_dataset {tmp_path}/train.jsonl
        --data.input_key input --data.label_key label --train.colocate_all --vllm.enable_sleep --ds.enable_sleep
        --vllm.num_engines 8 --vllm.gpu_memory_utilization 0.6 --ds.zero_stage 3
        --rollout.batch_size 16 --rollout.n_samples_per_prompt 8 --train.batch_size 64 --train.num_episodes 2
        --ckpt.path {tmp_path}/checkpoints --ckpt.save_steps 2
    """.split()


def run(words, flags, capsys) -> tuple[int, str, str]:
    status = plan.main([*words, "--", *flags])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_plan_beside_grpo(flags, tmp_path, capsys):
    out = tmp_path / "plan.json"
    status, text, _ = run(["--machine", "H100", *HAND, "--out", str(out)], flags, capsys)
    assert status == 0
    found = json.loads(out.read_text())
    assert (found["problems"], found["machine"]["name"], found["model"]["hidden"]) == (64, "H100", 896)
    own, stock = found["launch"], found["grpo"]
    assert (own["iterations"], own["device_count"], stock["sampled"]["untrained_tokens"]) == (8, 8, 0.0)
    assert own["sampled"]["untrained"] == pytest.approx((64 + 13) * 32, abs=100)  # later visits: problems without any
    # A number for each column stands in every line of the table.
    table = text.split("\n\n")[1].splitlines()
    assert table[0].split() == ["this", "launch", "GRPO"]
    for name in (
        "generated tokens",
        "optimizer steps",
        "GPU-hours",
        "distinct in a micro-batch",
        "disk in all",
    ):
        (line,) = [line for line in table if line.strip().startswith(name)]
        assert len(re.split(r"  +", line.strip())) == 3, line
    assert "memory of a GPU of the policy, training: " in text and "bind" in text
    assert text.splitlines()[-1].endswith(str(out))


def test_a_run_that_does_not_fit_is_refused_with_what_does_not(flags, capsys):
    status, text, error = run(["--machine", "A100", *HAND], [*flags, "--train.micro_batch_size", "32"], capsys)
    assert status == 1 and "peak memory" in text
    assert error.startswith("plan: error: the run does not fit: there is no room for activations: training takes ")
    assert "it fits with --" in text


def test_a_pilot_of_this_model(flags, tmp_path, capsys):
    groups = visit([mixed(4, 4), mixed(3, 5), mixed(8, 0)])
    writer = DumpWriter(tmp_path / "pilot", "group_norm")
    writer.write(1, groups)
    writer.wait()
    words = ["--machine", "H100", "--pilot", str(tmp_path / "pilot")]
    status, text, error = run(words, flags, capsys)
    assert status == 0, error
    assert "states a problem                                      3.00                1.00" in text
    (tmp_path / "model" / "tokenizer.json").write_text(
        (tmp_path / "model" / "tokenizer.json").read_text().replace('"What is "', '"What is it"')
    )
    status, _, error = run(words, flags, capsys)
    assert status == 2 and "is of another model, whose first prompt" in error


@pytest.mark.parametrize(
    ("words", "more", "said"),
    [
        (HAND, "", "--machine is not set"),
        (["--machine", "B200", *HAND], "", "--machine B200 is none of A100, H100, H200 and no file"),
        (["--machine", "H100"], "", "give either --pilot, or --prompt_tokens and --response_tokens"),
        (["--machine", "H100", "--pilot", "x", *HAND], "", "give either --pilot"),
        (["--machine", "H100", "--pilot", "nowhere"], "", "nowhere holds no rollout-*.parquet file"),
        (["--machine", "H100", *HAND], "--actor.num_gpus_per_node 0", "give it a GPU"),
        (["--machine", "H100", *HAND], "--vllm.num_engines 0", "--vllm.num_engines is not set"),
        (["--machine", "H100", *HAND], "--marge.explore vineppo", "give a --pilot"),
        (["--machine", "H100", *HAND, "--states", "0"], "", "--states 0 must be a number from 1 on, and --without_gu"),
        (
            ["--machine", "H100", *HAND, "--states", "inf"],
            "",
            "--states inf must be a number from 1 on, and --without",
        ),
        (["--machine", "H100", *HAND], "--no_such_flag", "unrecognized arguments: --no_such_flag"),
        (["--measure", "here.json"], "", "--measure needs --machine, one of A100"),
    ],
)
def test_bad_input_is_one_sentence(words, more, said, flags, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, error = run(words, [*flags, *more.split()], capsys)
    assert status == 2 and said in error and len(error.strip().splitlines()) == 1


def test_a_launch_for_gpus_is_planned_on_a_machine_without_one(flags, capsys, monkeypatch):
    """DS_ACCELERATOR says what this machine has, not the one that is planned for."""
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    status, _, error = run(["--machine", "H100", *HAND], [*flags, "--vllm.sync_backend", "nccl"], capsys)
    assert status == 0, error
    assert os.environ["DS_ACCELERATOR"] == "cpu"


def test_states_are_those_that_the_flags_count_on():
    assert states_of(None, 0.2) == states_of(MargeConfig(explore="frontier", guidance_source="fresh"), 0) == 1
    assert states_of(MargeConfig(), 0.2) == 4.42
    assert states_of(MargeConfig(expected_states=4.0), 0.2) == 5.0
    assert states_of(MargeConfig(expected_states=0.4), 0.2) == 1.0
    assert states_of(MargeConfig(expected_states=0.4), 1.0) == 0.4  # which is refused then
    # Of problems without guidance s_0 counts where it is fresh: .2 + .8 x 4.75 = 4.
    assert states_of(MargeConfig(expected_states=4.0, guidance_source="fresh"), 0.2) == pytest.approx(4.75)
    # Completions in place of 4 states after s_0, and of half as many.
    for match in ("samples", "tokens"):
        vanilla = dict(explore="vanilla", split="tokens", vanilla_match=match)
        assert states_of(MargeConfig(**vanilla), 0.2) == 5
        expected = 1 + 0.8 * (4 if match == "samples" else 2)
        assert states_of(MargeConfig(**vanilla, expected_states=expected), 0.2) == pytest.approx(5)


def test_what_else_is_not_there(flags, capsys, tmp_path):
    (tmp_path / "model" / "config.json").unlink()
    assert "config.json is missing" in run(["--machine", "H100", *HAND], flags, capsys)[2]
    assert "no launch; give the flags" in run(["--machine", "H100", *HAND], [], capsys)[2]
    (tmp_path / "c.json").write_text(json.dumps(QWEN))
    assert run(["--machine", "H200", *HAND, "--config", str(tmp_path / "c.json")], flags, capsys)[0] == 0
    stock = [f for f in flags if f not in ("--experience_maker", "marge")]
    stock += ["--reward.remote_url", str(tmp_path / "r.py"), "--algo.advantage.estimator", "group_norm"]
    measured = run(["--measure", str(tmp_path / "m.json"), "--config", str(tmp_path / "c.json")], stock, capsys)
    assert "--measure takes a launch with --experience_maker marge" in measured[2]
    assert run(["--machine", "H100", *HAND, "--config", str(tmp_path / "c.json")], stock, capsys)[0] == 0


def test_presets_are_in_their_order_of_speed():
    speeds = [(m.bandwidth, m.memory) for m in PRESETS.values()]
    assert list(PRESETS) == ["A100", "H100", "H200"] and speeds[0][0] < speeds[1][0] < speeds[2][0]


def sizes_of(args, problems):
    return [
        (a.rollout.batch_size, a.train.batch_size, a.train.micro_batch_size, a.train.max_tokens_per_gpu, samples)
        for a, samples in sized(args, problems)
    ]


def test_what_is_measured_is_small_and_large():
    args = launch(rollout__n_samples_per_prompt=8, train__batch_size=192, actor__num_gpus_per_node=1)
    args.train.micro_batch_size = args.rollout.micro_batch_size = 48
    assert sizes_of(args, 24) == [(24, 192, 48, 16384, 48), (3, 48, 12, 4096, 12)]
    assert sizes_of(args, 8) == [(8, 192, 48, 16384, 16), (2, 48, 12, 4096, 8)]  # 2 problems fill a micro-batch of 12
    args.actor.num_gpus_per_node = 4
    assert sizes_of(args, 200) == [(200, 192, 48, 16384, 400), (25, 48, 12, 4096, 100)]
    assert (args.rollout.batch_size, args.train.batch_size) == (4, 192)


@pytest.mark.stack
def test_a_measurement_is_a_machine_and_a_pilot_to_plan_with(warm_commands, task, tmp_path, capsys):
    flags = [*task.flags(tmp_path), "--experience_maker", "marge", "--marge.split", "tokens", "--marge.n_states", "2"]
    flags += ["--marge.n_candidates", "4", "--train.batch_size", "32"]
    machine = tmp_path / "here.json"
    status, text, error = run(["--measure", str(machine)], flags, capsys)
    assert status == 0, error
    assert text.splitlines()[-1].endswith(f"{tmp_path}/here.runs/run_1/dump serves as --pilot")
    found = find_machine(str(machine))
    assert found.is_cpu and "--marge.n_states 2" in found.measured_with
    assert found.fixed.engine_layer + found.fixed.token + found.fixed.completion > 0
    words = ["--machine", str(machine), "--pilot", str(tmp_path / "here.runs" / "run_1" / "dump")]
    status, text, error = run(words, flags, capsys)
    assert status == 0, error
    assert "states a problem" in text and text.splitlines()[-1].endswith("machine-hours, GRPO 0.0")
