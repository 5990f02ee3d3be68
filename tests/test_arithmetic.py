"""The embedded default: problems, the teacher that errs, tokenizer, model. The quickstart covers the full training."""

import dataclasses
import hashlib
import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, Qwen2ForCausalLM, Qwen2Tokenizer

from openrlhf_marge.arithmetic import pretrain
from openrlhf_marge.arithmetic.levels import LEVELS, Level
from openrlhf_marge.arithmetic.model import build_model, build_tokenizer
from openrlhf_marge.arithmetic.problems import (
    Chain,
    Operation,
    boxed_answer,
    format_response,
    split_problems,
)
from openrlhf_marge.arithmetic.sampling import chat_prompt, measure_pass_at_1, sample_responses
from openrlhf_marge.arithmetic.task import split, write_jsonl
from openrlhf_marge.arithmetic.teacher import NoisyTeacher
from openrlhf_marge.method.config import MargeConfig

PROBLEM = Chain(47, (Operation("+", 8), Operation("-", 9)))
SHORT = dataclasses.replace(LEVELS["easy"], max_len=24, min_pass_at_1=0.0)  # an untrained model does not end by itself
RESPONSE = "Let's think step by step.\n\nStep 1: 47+8=55\nStep 2: 55-9=46\nThe answer is: \\boxed{46}."


@pytest.fixture(scope="module")
def tokenizer() -> Qwen2Tokenizer:
    return build_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer: Qwen2Tokenizer) -> Qwen2ForCausalLM:
    return build_model(tokenizer, seed=0)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NUM_STEPS": 3, "WARMUP_STEPS": 1, "MAX_ROUNDS": 1, "NUM_HELDOUT": 4}.items():
        monkeypatch.setattr(pretrain, name, value)


def test_problem_is_worked_out_left_to_right() -> None:
    assert PROBLEM.question == "What is 47+8-9?"
    assert PROBLEM.steps == ("47+8=55", "55-9=46")
    assert PROBLEM.answer == 46
    assert format_response(PROBLEM.steps) == RESPONSE


def test_early_error_reaches_the_answer() -> None:
    slipped = PROBLEM.work_out(lambda value, op: op.apply(value) + (1 if value == 47 else 0))
    assert slipped == ("47+8=56", "56-9=47")
    assert boxed_answer(format_response(slipped)) == "47"


def test_last_box_is_the_answer() -> None:
    assert boxed_answer("\\boxed{1} then \\boxed{46}.") == "46"
    assert boxed_answer("46") is None


def test_split_is_disjoint_and_follows_from_the_seed() -> None:
    train, heldout = split_problems(seed=3, num_train=512, num_heldout=256)
    assert len(set(train) | set(heldout)) == 512 + 256
    assert split_problems(3, 512, 256) == (train, heldout)
    assert split_problems(3, 100, 256) == (train[:100], heldout)
    assert split_problems(4, 512, 256)[0] != train


def test_every_label_holds_by_independent_arithmetic(tmp_path: Path) -> None:
    train, _ = split_problems(seed=0, num_train=512, num_heldout=0)
    write_jsonl(train, tmp_path / "deep" / "train.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "deep" / "train.jsonl").read_text().splitlines()]
    assert len(rows) == 512
    for row in rows:
        assert set(row) == {"input", "label", "datasource"}
        numbers = re.findall(r"[+-]?\d+", row["input"])
        assert 5 <= len(numbers) <= 7
        assert row["label"] == str(sum(map(int, numbers)))
        assert 20 <= int(row["label"]) <= 79


def test_answers_can_hardly_be_guessed() -> None:
    train, _ = split_problems(seed=0, num_train=2000, num_heldout=0)
    assert max(Counter(problem.answer for problem in train).values()) / len(train) < 0.035


def test_teacher_errs_in_every_step_and_is_determined_by_its_seed() -> None:
    teacher, rng = NoisyTeacher(seed=0), random.Random(0)
    assert teacher.weaknesses == NoisyTeacher(seed=0).weaknesses != NoisyTeacher(seed=1).weaknesses
    train, _ = split_problems(seed=0, num_train=2000, num_heldout=0)
    tries, errors = Counter[int](), Counter[int]()
    for problem in train:
        for step, equation in enumerate(re.findall(r"Step \d: (\S+)", teacher.demonstrate(problem, rng)), start=1):
            left, result = equation.split("=")
            tries[step] += 1
            errors[step] += sum(map(int, re.findall(r"[+-]?\d+", left))) != int(result)
    assert sorted(tries) == [1, 2, 3, 4, 5, 6]
    assert all(0.12 < errors[step] / tries[step] < 0.25 for step in tries)


def test_teacher_spreads_the_same_error_rates_for_every_seed() -> None:
    rates = [sorted(w.error_rate for w in NoisyTeacher(seed).weaknesses.values()) for seed in (0, 1)]
    assert rates[0] == rates[1]
    assert len(rates[0]) == 81  # 45 % of 10 units digits x 18 operations
    assert sum(rates[0]) / 180 == pytest.approx(0.18)


def test_tokens_of_a_response(tokenizer: Qwen2Tokenizer) -> None:
    pieces = [tokenizer.decode([i]) for i in tokenizer(RESPONSE)["input_ids"]]
    assert pieces[:11] == ["Let's think step by step.", "\n\n", "Step 1:", " ", "4", "7", "+8", "=", "5", "5", "\n"]
    assert pieces[-4:] == ["The answer is: \\boxed{", "4", "6", "}."]
    assert "".join(pieces) == RESPONSE


def test_cot_prefix_of_marge_is_how_every_response_starts(tokenizer: Qwen2Tokenizer) -> None:
    prefix = tokenizer(MargeConfig().cot_prefix)["input_ids"]
    assert tokenizer(RESPONSE)["input_ids"][: len(prefix)] == prefix


def test_saved_folder_loads_with_auto_classes(
    tokenizer: Qwen2Tokenizer, model: Qwen2ForCausalLM, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = chat_prompt(tokenizer, PROBLEM) + RESPONSE + loaded.eos_token
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"]) == text
    assert chat_prompt(loaded, PROBLEM) == chat_prompt(tokenizer, PROBLEM)
    assert (loaded.pad_token, loaded.eos_token) == ("<|endoftext|>", "<|im_end|>")
    assert Qwen2ForCausalLM.from_pretrained(tmp_path).config.eos_token_id == loaded.eos_token_id


@pytest.mark.parametrize("text", ["any ASCII: {x} ~ \\frac{1}{2}", "caf\u00e9 \u4e2d \u2211", "  two  spaces\t\r\n"])
def test_any_text_survives_the_tokenizer(tokenizer: Qwen2Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_chat_template(tokenizer: Qwen2Tokenizer) -> None:
    expected = "<|im_start|>user\nWhat is 47+8-9?<|im_end|>\n<|im_start|>assistant\n"
    assert chat_prompt(tokenizer, PROBLEM) == expected
    assert len(tokenizer(expected)["input_ids"]) == 14


def test_model_is_small_and_follows_from_the_seed(tokenizer: Qwen2Tokenizer, model: Qwen2ForCausalLM) -> None:
    config = model.config
    assert config.hidden_size // config.num_attention_heads == 32
    assert config.vocab_size == len(tokenizer)
    assert 50_000 < model.num_parameters() < 200_000
    state = torch.get_rng_state()
    again, other = (build_model(tokenizer, seed).lm_head.weight for seed in (0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(again, model.lm_head.weight)
    assert not torch.equal(other, model.lm_head.weight)


def test_only_the_response_is_learned(tokenizer: Qwen2Tokenizer) -> None:
    inputs, labels = pretrain.encode(tokenizer, ["47?", "4?"], ["=4", "=47"])
    assert inputs.shape == labels.shape == (2, 5)
    assert [tokenizer.decode(row) for row in inputs] == ["47?=4", "4?=47"]
    assert (labels == pretrain.IGNORED).tolist() == [[True] * 3 + [False] * 2, [True] * 2 + [False] * 3]


def test_sampling_follows_from_its_generator(tokenizer: Qwen2Tokenizer, model: Qwen2ForCausalLM) -> None:
    prompts = [chat_prompt(tokenizer, PROBLEM)] * 2
    first, again, other = (
        sample_responses(model, tokenizer, prompts, torch.Generator().manual_seed(seed), max_len=22)
        for seed in (0, 0, 1)
    )
    assert first == again != other
    assert measure_pass_at_1(model, tokenizer, [PROBLEM], seed=0, task=SHORT) == 0.0


def test_pretraining_writes_what_the_quickstart_reads(tmp_path: Path, few_steps: None) -> None:
    assert pretrain.pretrain(tmp_path, 0, SHORT) == 0.0
    assert len((tmp_path / "train.jsonl").read_text().splitlines()) == 512
    assert len((tmp_path / "heldout.jsonl").read_text().splitlines()) == 4
    assert Qwen2ForCausalLM.from_pretrained(tmp_path / "model").dtype == torch.bfloat16
    assert len(AutoTokenizer.from_pretrained(tmp_path / "model")) == len(build_tokenizer())


def test_the_command_takes_a_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], few_steps: None
) -> None:
    monkeypatch.setattr("sys.argv", ["pretrain", "--out", str(tmp_path), "--level", "short"])
    pretrain.run({"short": dataclasses.replace(SHORT, num_train=3)}, "")
    assert capsys.readouterr().out == f"{tmp_path / 'model'}: held-out pass@1 0.000\n"
    assert len((tmp_path / "train.jsonl").read_text().splitlines()) == 3
    monkeypatch.setattr("sys.argv", ["pretrain", "--out", str(tmp_path), "--level", "hardest"])
    with pytest.raises(SystemExit):
        pretrain.run(LEVELS, "")
    assert "invalid choice: 'hardest'" in capsys.readouterr().err


def test_the_easy_level_is_what_it_was() -> None:
    """Digests from before there were levels."""
    train, heldout = split(LEVELS["easy"].problems(random.Random(0)), 512, 256)
    assert (train, heldout) == split_problems(0, 512, 256)
    assert (train[0].question, heldout[0].question) == ("What is 79-5-4-7+1?", "What is 74-5+2-8-7-4?")
    rng, teacher = random.Random(0), LEVELS["easy"].teacher(0)
    demonstrations = (teacher.demonstrate(problem, rng) for problem in train)
    digests = ["".join(texts) for texts in ((p.question for p in train + heldout), demonstrations)]
    assert [hashlib.sha256(text.encode()).hexdigest()[:16] for text in digests] == [
        "68dd7343d063e70f",
        "3cf370d17cc68326",
    ]
    tokens = build_tokenizer(LEVELS["easy"].phrases).backend_tokenizer.to_str()
    assert hashlib.sha256(tokens.encode()).hexdigest()[:16] == "ed5bff18858e48f4"


levels = pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)


@levels
def test_a_level_has_problems_of_its_length_that_fit(level: Level) -> None:
    tokenizer, rng = build_tokenizer(level.phrases), random.Random(1)
    train, heldout = split(level.problems(random.Random(1)), level.num_train, 64)
    assert (train, heldout) == split(level.problems(random.Random(1)), level.num_train, 64)
    assert len(set(train) | set(heldout)) == level.num_train + 64
    assert {len(p.steps) for p in train} == set(range(level.min_steps, level.max_steps + 1))
    teacher = level.teacher(1)
    for problem in train[:48]:
        text = chat_prompt(tokenizer, problem) + teacher.demonstrate(problem, rng) + tokenizer.eos_token
        assert len(tokenizer(text)["input_ids"]) <= level.max_len - 8  # a slip may cost a digit a step
        assert problem.is_solved_by(format_response(problem.steps))
        assert not problem.is_solved_by(format_response(problem.steps).replace("{", "{9"))


@levels
def test_the_teacher_of_a_level_knows_every_fact(level: Level) -> None:
    """Sampled at temperature 0.8 and top-p 0.95, a right result with probability 0.1 is still drawn."""
    rates = [weakness.error_rate for weakness in level.teacher(0).weaknesses.values()]
    assert len(rates) == round(180 * level.weak_share) and max(rates) < level.max_error_rate < 0.9


def test_tokens_of_easy_are_the_same_at_every_level() -> None:
    easy, hardest = (build_tokenizer(LEVELS[name].phrases) for name in ("easy", "xhard"))
    assert hardest(RESPONSE)["input_ids"] == easy(RESPONSE)["input_ids"]
    assert [hardest.decode([i]) for i in hardest("Step 8: 4")["input_ids"]] == ["Step 8:", " ", "4"]


def test_held_out_problems_are_not_demonstrated() -> None:
    few = LEVELS["few"]
    held_out = [next(few.problems_to_demonstrate(random.Random(5), []))]
    assert next(few.problems_to_demonstrate(random.Random(5), held_out)) not in held_out
