"""Countdown: the exact reward, problems, the teacher that wanders, its base model's files."""

import dataclasses
import json
import random
import runpy
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlhf_marge import MargeConfig
from openrlhf_marge.rewards.countdown import MAX_CHARS, MAX_NESTING, countdown, read_label
from openrlhf_marge.rewards.domains import domain_reward

pytest.importorskip("torch")

from openrlhf_marge.arithmetic import pretrain
from openrlhf_marge.arithmetic.model import build_tokenizer
from openrlhf_marge.arithmetic.sampling import chat_prompt
from openrlhf_marge.arithmetic.task import split, write_jsonl
from openrlhf_marge.countdown import REWARD_FILE
from openrlhf_marge.countdown.levels import LEVELS, Level
from openrlhf_marge.countdown.problems import Countdown, Step, format_response, paths_of, solutions, steps_of

LABEL = "24: 3 8 2 4"
PROBLEM = Countdown(24, (2, 3, 4, 8))
PATH = (Step(8, "*", 3, 24), Step(24, "/", 2, 12), Step(12, "+", 4, 16))
RESPONSE = (
    "Let's think step by step.\n\nStep 1: 8*3=24\nStep 2: 24/2=12\nStep 3: 12+4=16\n"
    "The answer is: \\boxed{((8*3)/2)+4}."
)
levels = pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)


def boxed(expression: str) -> str:
    return f"Step 1: 1+1=3\nThe answer is: \\boxed{{{expression}}}.<|im_end|>"


@pytest.mark.parametrize(
    "expression",
    ["8*4-(3*2)-2+0", "8*3*4/2/2", "3*8-4+2", "(8 + 4) * (3 - 2)", "8*3*(4/2)-24"],
)
def test_other_numbers_or_another_value_are_wrong(expression):
    expected = expression == "(8 + 4) * (3 - 2)"
    assert countdown(boxed(expression), "12: 3 8 2 4") == float(expected)


@pytest.mark.parametrize(
    ("expression", "label"),
    [
        ("(8-2)*4", "24: 2 4 8"),
        ("8-2*4", "0: 2 4 8"),
        ("8/(3-8/3)", "24: 3 3 8 8"),  # by way of 1/3
        ("(8)/((3)-(8/3))", "24: 3 3 8 8"),
        ("9-5-3", "1: 3 5 9"),
        ("8/4/2", "1: 2 4 8"),
        (" 12\n+  30 ", "42: 30 12"),
        ("3-5", "-2: 3 5"),
        ("007", "7: 7"),
    ],
)
def test_what_is_right(expression, label):
    assert countdown(boxed(expression), label) == 1.0


@pytest.mark.parametrize(
    "expression",
    [
        "", " ", "24", "8*3", "3+8+2+4", "8*3+2-4+0", "3*8*4/2", "(8-4-(3-2))*8", "38-2*4-6",
        "8/(4-3-2+1)", "8/0", "(8*4-(2*3)", "8*4-2*3)", "8*4--2*3", "-2+8*4-3", "+8*4-2-3", "8*4-2-", "*", "()", ")(",
        "8**4-2*3", "8//4", "8^4", "8 4 2 3", "(8)(4)-2*3", "8*4-2-3=24", "x=24", "8.0*3", "1e3", "8_4*2*3",
        "8×3×2/4", "8*4−2*3", "٨*3", "８*3", "²", "\\frac{8}{2}", "__import__('os')", "8*3/(4-2-2)",
    ],
)  # fmt: skip
def test_what_is_wrong_and_never_a_crash(expression):
    assert countdown(boxed(expression), LABEL) == 0.0


@pytest.mark.parametrize(
    ("response", "reward"),
    [
        ("\\boxed{3*8*2/2}\\boxed{(8-2)*4}", 1.0),
        ("\\boxed{(8-2)*4}\\boxed{8}", 0.0),
        ("\\boxed{(8-2)*4} \\boxed{", 0.0),
        ("\\boxed{(8-2)*4", 0.0),
        ("(8-2)*4", 0.0),
        ("", 0.0),
        ("} \\boxed{(8-2)*4}", 1.0),
    ],
)
def test_the_last_box_counts(response, reward):
    assert countdown(response, "24: 2 4 8") == reward


def test_hostile_expressions_end_at_the_bounds():
    for nesting in (MAX_NESTING, MAX_NESTING + 1):
        text = boxed("(" * nesting + "7" + ")" * nesting)
        assert countdown(text, "7: 7") == float(nesting == MAX_NESTING)
    for text in (
        "(" * 10**6,
        "((7" * 10**5,
        "9" * 10**6,
        "7" + "+0" * 10**6,
        "7*" * 150,
        "-" * MAX_CHARS,
        " " * 10**6,
    ):
        assert countdown(boxed(text), "7: 7") == 0.0
    assert countdown("\\boxed{" * 10**5, "7: 7") == countdown("\\boxed{" * 10**5 + "}", "7: 7") == 0.0
    assert countdown(boxed("*".join(["999999999"] * 16)), "1:" + " 999999999" * 16) == 0.0


@pytest.mark.parametrize("label", ["", "24", "24:", ": 3 8", "3 8 2 4", "24: 3 x", "24: 3 -8", "2.5: 3 8", "٢٤: 3 8"])
def test_a_label_without_target_or_numbers_is_refused(label):
    with pytest.raises(ValueError, match=r"has no target and numbers; write TARGET: NUMBERS, such as '24: 3 8 2 4'"):
        read_label(label)
    with pytest.raises(RuntimeError, match=r"--marge.reward countdown raised ValueError: the label .* has no target"):
        domain_reward("countdown", boxed("3*8"), label)


# Trees of (operator, left, right) with numbers as leaves.
TREES = st.recursive(st.integers(0, 20), lambda trees: st.tuples(st.sampled_from("+-*/"), trees, trees), max_leaves=6)


def by_tree(tree) -> Fraction:
    if isinstance(tree, int):
        return Fraction(tree)
    sign, left, right = tree[0], by_tree(tree[1]), by_tree(tree[2])
    return {"+": left + right, "-": left - right, "*": left * right}.get(sign) if sign != "/" else left / right


def written(tree, spaced: str) -> str:
    """With brackets only where precedence asks for them."""
    if isinstance(tree, int):
        return str(tree)
    sign, left, right = tree[0], written(tree[1], spaced), written(tree[2], spaced)
    inner = [side[0] if isinstance(side, tuple) else None for side in tree[1:]]
    if sign in "*/" and inner[0] in ("+", "-"):
        left = f"({left})"
    if (sign in "*/" and inner[1]) or (sign == "-" and inner[1] in ("+", "-")):
        right = f"({right})"
    return f"{left}{spaced}{sign}{spaced}{right}"


def leaves(tree) -> list[int]:
    return [tree] if isinstance(tree, int) else leaves(tree[1]) + leaves(tree[2])


@given(TREES, st.sampled_from(["", " "]), st.integers(-3, 3))
def test_the_value_is_that_of_the_tree(tree, spaced, off):
    text, numbers = boxed(written(tree, spaced)), " ".join(map(str, reversed(leaves(tree))))
    try:
        value = by_tree(tree)
    except ZeroDivisionError:
        value = None
    target = off + (0 if value is None else int(value))
    assert countdown(text, f"{target}: {numbers}") == float(value == target)
    assert countdown(text, f"{target}: {numbers} 1") == 0.0


@given(st.text(alphabet="0123456789+-*/() \\boxed{}", max_size=60))
def test_no_text_crashes(text):
    assert countdown(text, LABEL) in (0.0, 1.0)


def test_the_reward_is_chosen_by_name_and_by_file():
    assert MargeConfig(reward="countdown").reward == "countdown"
    queries = [f"Make 24 from 2 3 4 8.{box}" for box in ("\\boxed{8*4-2*3}", "\\boxed{(8-2)*4*(3-2)}", "24")]
    prompts = ["Make 24 from 2 3 4 8."] * 3
    returned = runpy.run_path(REWARD_FILE)["reward_func"](queries, prompts, ["26: 2 3 4 8"] * 3)
    assert returned["rewards"].tolist() == [1.0, 0.0, 0.0]


def test_a_problem_and_its_response():
    assert PROBLEM.question == "Make 24 from 2 3 4 8."
    assert PROBLEM.label == "24: 2 3 4 8"
    assert format_response(PATH) == RESPONSE
    assert Countdown(16, (2, 3, 4, 8)).is_solved_by(RESPONSE) and not PROBLEM.is_solved_by(RESPONSE)


def test_steps_have_positive_whole_results_of_two_digits():
    assert list(map(str, steps_of(8, 4))) == ["8+4=12", "8-4=4", "8*4=32", "8/4=2"]
    assert list(map(str, steps_of(4, 8))) == ["4+8=12", "4*8=32"]
    assert list(map(str, steps_of(60, 7))) == ["60+7=67", "60-7=53"]


def test_all_paths_of_two_numbers():
    assert [[str(step) for step in path] for path in paths_of((2, 3))] == [
        ["2+3=5"], ["2*3=6"], ["3+2=5"], ["3-2=1"], ["3*2=6"],
    ]  # fmt: skip


@levels
def test_problems_follow_from_the_seed_and_have_many_solutions(level: Level):
    train, heldout = split(level.problems(random.Random(2)), level.num_train, 256)
    assert (train, heldout) == split(level.problems(random.Random(2)), level.num_train, 256)
    assert len(set(train) | set(heldout)) == level.num_train + 256
    assert all(p.numbers == tuple(sorted(p.numbers)) and len(p.numbers) == level.num_numbers for p in train)
    for problem in train[:50]:
        paths = solutions(problem)
        assert paths and all(problem.is_solved_by(format_response(path)) for path in paths)
        for path in random.Random(0).choices(paths_of(problem.numbers), k=5):
            assert problem.is_solved_by(format_response(path)) == (path[-1].result == problem.target)
    demonstrated = islice(level.problems_to_demonstrate(random.Random(3), heldout), 500)
    assert not set(demonstrated) & set(heldout)


def test_literal_problems():
    easy, hard = (next(level.problems(random.Random(0))) for level in LEVELS.values())
    assert (easy.question, hard.question) == ("Make 34 from 2 8 9.", "Make 25 from 1 2 7 9.")


@levels
def test_the_teacher_shows_solutions_as_often_as_it_is_told(level: Level):
    problems = list(islice(level.problems(random.Random(4)), 300))
    shown = {}
    for skill in (0.0, 0.5, 1.0):
        rng, teacher = random.Random(0), dataclasses.replace(level, skill=skill).teacher(0)
        shown[skill] = sum(p.is_solved_by(teacher.demonstrate(p, rng)) for p in problems) / len(problems)
    assert shown[0.0] < 0.15 and shown[1.0] == 1.0
    assert shown[0.5] == pytest.approx((1 + shown[0.0]) / 2, abs=0.08)


@levels
def test_prompt_and_response_fit(level: Level):
    tokenizer, rng = build_tokenizer(level.phrases), random.Random(0)
    for problem in islice(level.problems(random.Random(5)), 100):
        text = chat_prompt(tokenizer, problem) + level.teacher(0).demonstrate(problem, rng) + tokenizer.eos_token
        assert len(tokenizer(text)["input_ids"]) <= level.max_len - 8
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_pretraining_writes_the_files_of_the_other_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"NUM_STEPS": 2, "WARMUP_STEPS": 1, "MAX_ROUNDS": 1, "NUM_HELDOUT": 4}.items():
        monkeypatch.setattr(pretrain, name, value)
    assert pretrain.pretrain(tmp_path, 0, dataclasses.replace(LEVELS["easy"], num_train=3, max_len=30)) == 0.0
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    for row in rows:
        target, numbers = read_label(row["label"])
        assert row["input"] == f"Make {target} from {' '.join(map(str, numbers))}."
        assert row["datasource"] == "countdown"
    assert (tmp_path / "model" / "model.safetensors").is_file() and (tmp_path / "heldout.jsonl").is_file()


def test_rows(tmp_path: Path):
    write_jsonl([PROBLEM], tmp_path / "rows.jsonl")
    assert json.loads((tmp_path / "rows.jsonl").read_text()) == {
        "input": "Make 24 from 2 3 4 8.", "label": "24: 2 3 4 8", "datasource": "countdown",
    }  # fmt: skip
