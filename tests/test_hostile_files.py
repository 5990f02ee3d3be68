"""Damaged files of every kind: each is read as it was written, or refused in one sentence that names it."""

import json
import math
import re
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openrlhf_marge.cli.serve_grader import read_request
from openrlhf_marge.compare.reading import read_plan
from openrlhf_marge.compare.tuning import TrialRow
from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.data.dump_reading import count_trained, read_groups, stop_texts
from openrlhf_marge.data.files import read_records, write_records
from openrlhf_marge.data.parquet import check_file, open_file
from openrlhf_marge.data.row_writers import row_writer
from openrlhf_marge.data.rows import count_rows, read_rows
from openrlhf_marge.evaluation import Response
from openrlhf_marge.evaluation.responses import Answered, ResponseFolder
from openrlhf_marge.evaluation.results import read_results
from openrlhf_marge.exploration import Journal, check_settings
from openrlhf_marge.exploration.folder import FileRecord, read_pool
from openrlhf_marge.exploration.totals import Totals
from openrlhf_marge.figures.dump_totals import read_totals
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.loop.stages import read_stages
from openrlhf_marge.method.guidance import GuidancePool
from openrlhf_marge.pairs.reading import COLUMNS
from openrlhf_marge.pairs.reading import read_visits as read_pair_visits
from openrlhf_marge.report.reading import find_visits
from openrlhf_marge.report.reading import read_visits as read_report_visits
from openrlhf_marge.rewards.batch import responses_of
from openrlhf_marge.rewards.returned import parse_reward
from openrlhf_marge.runs.checkpoints import CheckpointStore, repair
from openrlhf_marge.runs.folder import explored_with
from openrlhf_marge.runs.log import read_series
from openrlhf_marge.runs.progress import ProgressPoint
from openrlhf_marge.runs.progress_files import read_points, write_points
from openrlhf_marge.runs.summary import LoopSummary, RlSummary, RunSummary, read_summary

from factories import completion, group, guidance
from figure_runs import log, result
from hostile import damaged, ends_well, swapped
from scripted_dumps import mixed, visit, write_dump

EXAMPLES = settings(max_examples=40, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    written = write_dump(
        tmp_path_factory.mktemp("dump"), visit([mixed(2, 2), mixed(1, 2), mixed(0, 3)]), stop=("END",)
    )
    return Path(*dump_files(written)).read_bytes()


def report_groups(path):
    visits = find_visits(path)
    return visits, list(read_report_visits(path, visits))


DUMP_READERS = {
    "groups": lambda path: list(read_groups(path)),
    "pairs": lambda path: list(read_pair_visits(path)),
    "report": report_groups,
    "figures": read_totals,
    "count": lambda path: count_trained([path]),
    "rows": lambda path: check_file(path, COLUMNS),
    "stop": lambda path: stop_texts(open_file(path).schema_arrow),
}


@pytest.mark.parametrize("reader", DUMP_READERS)
def test_a_damaged_dump_is_refused_or_gives_the_same(folder, dump, reader):
    path, read = folder / "rollout-00000001.parquet", DUMP_READERS[reader]
    path.write_bytes(dump)
    whole = read(path)

    @EXAMPLES
    @given(damaged(dump))
    def check(content):
        path.write_bytes(content)
        found = ends_well(lambda: read(path), path)
        assert found is None or repr(found) == repr(whole)

    check()


def journal_of(folder):
    journal = Journal(folder, {"p": 1, "q": 1})
    answers = [
        completion(0.5, log_probs=(-0.5, -0.25), extra_logs=(("x", 1.0),), weight_versions=(2, 3)),
        completion(0.0, ids=(7, 8, 9)),
    ]
    for problem_id, request in (("p", 7), ("p", 8), ("q", 7)):
        journal.add(problem_id, request, answers)
    return answers


def test_a_damaged_journal_is_refused_or_gives_some_of_the_same(folder):
    path = folder / "journal" / "00000001.jsonl"
    answers = journal_of(path.parent)
    whole = path.read_bytes()

    @EXAMPLES
    @given(
        damaged(whole) | st.sampled_from(whole.splitlines()).map(json.loads).flatmap(swapped).map(lambda b: b + b"\n")
    )
    def check(content):
        path.write_bytes(content)
        if journal := ends_well(lambda: Journal(path.parent, {}), path):
            found = [journal.get(*key) for key in (("p", 7), ("p", 8), ("q", 7))]
            assert all(of is None or of == answers for of in found)

    check()


def test_a_damaged_checkpoint_is_refused_or_gives_the_same(folder):
    store, pool = CheckpointStore(folder / "checkpoints" / "_marge"), GuidancePool()
    pool.visit("p")
    pool.set("p", [guidance()])
    record = RolloutRecord(pool=pool.state_dict(), waiting=(group(3),), rollouts=2, episode=1, skipped=8)
    store.write_state(1, record)
    path = store.state_file(1)
    whole = path.read_bytes()

    @EXAMPLES
    @given(damaged(whole))
    def check(content):
        path.write_bytes(content)
        assert ends_well(lambda: store.read_state(1, RolloutRecord), path) in (None, record)

    check()


def test_a_damaged_list_of_checkpoints_is_refused_or_names_some_of_them(folder):
    checkpoints = folder / "listed"
    (checkpoints / "_actor" / "global_step1").mkdir(parents=True)
    path = checkpoints / "_marge" / "complete.json"
    CheckpointStore(path.parent).write_state(
        1, RolloutRecord(pool=GuidancePool().state_dict(), waiting=(), rollouts=1, episode=0)
    )
    listed = {"global_step1": 1, "global_step2": 2}

    @EXAMPLES
    @given(damaged(json.dumps(listed).encode()) | swapped(listed))
    def check(content):
        path.write_bytes(content)
        assert ends_well(lambda: repair(checkpoints), path, "_marge/state_") in (None, "global_step1")
        ends_well(lambda: CheckpointStore(path.parent).commit("global_step3", 3, {"global_step1"}), path)

    check()


JSON_FILES = {
    "evaluation": (result("gsm8k", 0.25, 0.5), lambda path: read_results(path)),
    "evaluations": ({n: result(n, 0.25, 0.5) for n in ("gsm8k", "a|b")}, lambda path: read_results(path)),
    "summary of training": (
        {
            "method": "marge", "training_flags": ["--train.seed", "0"], "generated_tokens": 10, "versions": {"a": "1"},
            "name": "n", "kind": "k", "budget": "b",
        },
        lambda path: read_summary(path.parent, RlSummary),
    ),
    "summary of a loop": (
        {
            "kind": "marge", "before": {"model": "m"}, "best_iteration": 1, "best_model": "m", "iterations": [
                {"explored": {"completions": 1, "generated_tokens": 2}, "seconds": {"train": 1.5}}],
        },
        lambda path: read_summary(path.parent, LoopSummary),
    ),
    "any summary": ({"generated_tokens": 1.5, "best_model": "m"}, lambda path: read_summary(path.parent, RunSummary)),
    "settings": ({"--train.seed": 1, "--marge.stop": ["a", "b"]}, lambda path: explored_with(path.parent)),
    "settings compared": ({"--train.seed": 1}, lambda path: check_settings(path, {"--train.seed": 1})),
}  # fmt: skip
NAMES = {"summary": "summary.json", "settings": "settings.json"}


@pytest.mark.parametrize("kind", JSON_FILES)
def test_a_damaged_json_file_is_refused_by_name(folder, kind):
    value, read = JSON_FILES[kind]
    path = folder / next((name for of, name in NAMES.items() if of in kind), "result.json")
    path.write_text(json.dumps(value))
    read(path)

    @EXAMPLES
    @given(damaged(json.dumps(value).encode()) | swapped(value) | swapped(value))
    def check(content):
        path.write_bytes(content)
        ends_well(lambda: repr(read(path)), path, f"--out {folder} was begun with")

    check()


ROWS = [{"input": "1+1?", "label": "2", "n": 1.5}, {"input": "caf\u00e9 \u4f60", "label": "3", "n": None}]
POINTS = [ProgressPoint(updates=i, samples=8 * i, tokens=100 * i, seconds=1.5 * i, pass_rate=0.25) for i in (1, 2)]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_damaged_rows_are_refused_by_file_and_row(folder, ending):
    path = folder / f"rows{ending}"
    with row_writer(path, pa.schema({"input": pa.string(), "label": pa.string(), "n": pa.float64()})) as write:
        for row in ROWS:
            write(row)
    whole = path.read_bytes()

    @EXAMPLES
    @given(damaged(whole) | swapped(ROWS[0]))
    def check(content):
        path.write_bytes(content)
        if ends_well(lambda: count_rows(path), path):
            ends_well(lambda: [row.text("input", "--input_key") for row in read_rows(path)], path)

    check()


def test_damaged_progress_is_refused_by_name(folder):
    path = folder / "progress.jsonl"
    write_points(path, POINTS)
    whole = path.read_bytes()

    @EXAMPLES
    @given(damaged(whole) | swapped(asdict(POINTS[0])))
    def check(content):
        path.write_bytes(content)
        points = ends_well(lambda: read_points(path), path)
        assert all(type(p.tokens) is int and p.tokens >= 0 for p in points or [])

    check()


def test_damaged_trials_are_refused_by_name(folder):
    path = folder / "trials.csv"
    trials = [TrialRow(method="A,\n", flags="--x 1", seed=s, score=0.5, tokens=10, commit="c") for s in (0, 1)]
    write_records(path, TrialRow, trials)

    @EXAMPLES
    @given(damaged(path.read_bytes()))
    def check(content):
        path.write_bytes(content)
        assert all(math.isfinite(row.score) for row in ends_well(lambda: read_records(path, TrialRow), path) or [])

    check()


PLAN = """
seeds = [0, 1]
baseline = "GRPO"
shared = "--actor.model_name_or_path m --data.prompt_dataset d.jsonl"
budget.tokens = 300_000
marks = [0.25]
match = "updates"
[evaluate]
data = ["math500"]
flags = "--n 4 --k 1"
[methods.GRPO]
kind = "grpo"
[methods."MARGE, 4"]
kind = "marge"
flags = "--marge.n_states 4"
share = 0.5
[tune]
seeds = [100]
metric = "pass@1"
share = 0.5
[tune.methods.GRPO]
lr = ["--actor.adam.lr 1e-4", "--actor.adam.lr 3e-4"]
"""


def test_a_damaged_compare_file_is_refused_by_name(folder):
    path = folder / "compare.toml"
    path.write_text(PLAN)
    read_plan(path, folder)
    values = ["", "0", "-1", "1e400", "nan", "true", "[]", "{}", '""', '"\\u0000"', "9" * 30, "2020-01-01", "[" * 2000]
    lines = PLAN.strip().splitlines()

    @st.composite
    def other_value(draw):
        changed = [*lines]
        place = draw(st.integers(0, len(lines) - 1))
        changed[place] = f"{lines[place].partition('=')[0]} = {draw(st.sampled_from(values))}"
        return "\n".join(changed).encode()

    @EXAMPLES
    @given(damaged(PLAN.encode()) | other_value() | other_value())
    def check(content):
        path.write_bytes(content)
        ends_well(lambda: read_plan(path, folder), path)

    check()


def test_a_damaged_log_is_refused_by_name_or_shorter(folder):
    whole = {"train/a": [(i, i / 4) for i in range(1, 20)], "train/b": [(i, 2.0 * i) for i in range(1, 20)]}
    written = log(
        folder / "logged", train__a=[y for _, y in whole["train/a"]], train__b=[y for _, y in whole["train/b"]]
    )
    (path,) = (written / "tensorboard").iterdir()
    assert read_series(written) == whole

    @EXAMPLES
    @given(damaged(path.read_bytes()))
    def check(content):
        path.write_bytes(content)
        for tag, points in (ends_well(lambda: read_series(written), path) or {}).items():
            assert set(points) <= set(whole[tag])

    check()


def test_damaged_responses_are_put_aside_or_given_as_they_were(folder):
    responses = ResponseFolder(folder / "responses")
    graded = [Response("a|b", "1", True, "correct", False), Response("\u00e9", None, False, "wrong", True)]
    whole = [Answered(i, "q", "1", "p", graded, graded[:1]) for i in range(2)]
    responses.write(whole)
    (path,) = responses.path.iterdir()

    @EXAMPLES
    @given(damaged(path.read_bytes()))
    def check(content):
        for torn in responses.path.iterdir():
            torn.unlink()
        path.write_bytes(content)
        assert repr(ends_well(lambda: list(responses.read()), path)) in ("None", "[]", repr(whole))

    check()


@EXAMPLES
@given(swapped({"rewards": [0.5], "scores": [1], "extra_logs": {"a": [1.0]}}) | damaged(b'{"rewards": 0.5}'))
def test_a_damaged_answer_of_a_reward_function_is_a_reward_or_refused(content):
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return
    reward = ends_well(lambda: parse_reward(answer), "the reward", "the score", "extra_logs")
    assert reward is None or (0 <= reward.value <= 1 and all(math.isfinite(v) for _, v in reward.extra_logs))


@EXAMPLES
@given(swapped({"query": ["q a"], "prompts": ["q"], "labels": ["1"]}) | damaged(b'{"query": ["q"], "prompts": ["q"]}'))
def test_a_damaged_request_for_rewards_is_refused(content):
    if batch := ends_well(lambda: read_request(content), "the request", "the list"):
        ends_well(lambda: responses_of(*batch), "labels; there must", "a label is empty", "the text to grade does not")


STAGES = {"train": {"seconds": 1.5, "command": ["python", "-m", "x", "--a", "1"]}}


def test_damaged_notes_of_stages_are_refused_by_name(folder):
    path = folder / "stages.json"

    @EXAMPLES
    @given(damaged(json.dumps(STAGES).encode()) | swapped(STAGES))
    def check(content):
        path.write_bytes(content)
        ends_well(lambda: read_stages(folder), path)

    check()


def test_a_damaged_record_of_an_exploration_is_refused_by_name(folder):
    store = CheckpointStore(folder / "explored" / "guidance")
    record = FileRecord(pool=GuidancePool().state_dict(), totals=Totals(problems=3, pass_rates=1.5))
    store.write_state(1, record)
    path = store.state_file(1)
    (folder / "explored" / "summary.json").write_text("{}")

    @EXAMPLES
    @given(damaged(path.read_bytes()))
    def check(content):
        path.write_bytes(content)
        assert ends_well(lambda: store.read_state(1, FileRecord), path) in (None, record)
        ends_well(lambda: read_pool(folder / "explored"), path)

    check()


DEEP = "[" * 3000
POINT = json.dumps(asdict(POINTS[0]))
TRIALS = "method,flags,seed,score,tokens,commit\nA,--x 1,0,{},10,c\n"
LITERAL = {  # name of a file, what it holds, how it is read, and what is said of it
    "no steps": (
        "complete.json", '{"global_step1": "1"}', lambda p: CheckpointStore(p.parent).complete(),
        "names no steps; mend it, or resume without --ckpt.load_enable",
    ),
    "deep": ("result.json", f'{{"data": {DEEP}', read_results, "is not JSON: maximum recursion depth exceeded"),
    "half a surrogate pair": (
        "summary.json", '{"generated_tokens": "\\ud800"}', lambda p: read_summary(p.parent, RunSummary),
        "is not as a run writes it: 'utf-8' codec can't encode",
    ),
    "a deep plan": ("plan.toml", f"seeds = {DEEP}", lambda p: read_plan(p, p.parent), "is no TOML: maximum recursion"),
    "progress of another type": (
        "progress.jsonl", f'{POINT}\n{POINT.replace("100", "true")}\n', read_points,
        "line 2 is no progress of a run: Expected `int`, got `bool` - at `$.tokens`; mend it or run it again",
    ),
    "negative progress": (
        "progress.jsonl", POINT.replace("1.5", "-1.5"), read_points,
        "line 1 is no progress of a run: a number is negative or not finite; mend it",
    ),
    "a stage without a command": (
        "stages.json", '{"train": {"seconds": 1}}', lambda p: read_stages(p.parent),
        "what is noted of the stage 'train' has no command; take the stage out",
    ),
    "a score that is none": (
        "trials.csv", TRIALS.format("nan"), lambda p: read_records(p, TrialRow),
        "line 2: score is nan, which is no number to go on with; mend the row or take it out",
    ),
    "trials in another encoding": (
        "trials.csv", TRIALS.format("0.5\u00e9"), lambda p: read_records(p, TrialRow), "line 0: 'utf-8' codec can't",
    ),
    "an old answer without its tokens": (
        "00000001.jsonl", '["p", 7, [{"reward": 1.0}]]\n', lambda p: Journal(p.parent, {}),
        "was changed, its byte 28 ends a line that is no answer; remove it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", LITERAL)
def test_a_fault_that_was_found_is_one_sentence(tmp_path, fault):
    name, content, read, said = LITERAL[fault]
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1", errors="surrogatepass"))
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        read(path)
    assert str(error.value).startswith(str(path))


def test_rows_of_a_page_that_was_changed_are_an_error_and_not_fewer_rows(tmp_path):
    """The type of the first page is another one, so Arrow takes the file for one without rows."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"input": [f"q{i}" for i in range(50)]}), path)
    content = bytearray(path.read_bytes())
    content[5] ^= 2
    path.write_bytes(content)
    assert sum(map(len, pq.ParquetFile(path).iter_batches())) == 0
    with pytest.raises(ValueError, match=f"{path} has 50 rows, of which 0 can be read"):
        list(read_rows(path))


def test_a_state_with_another_name_is_none(tmp_path):
    (tmp_path / "state_x.msgpack").write_text("")
    assert CheckpointStore(tmp_path).steps() == []
