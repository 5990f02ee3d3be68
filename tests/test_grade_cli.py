"""python -m openrlhf_marge.cli.grade on small files."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openrlhf_marge.cli import grade as cli
from openrlhf_marge.grading.errors import GraderUnavailable
from openrlhf_marge.grading.pool import GraderPool

ROWS = [
    {"response": r"so \boxed{18}", "label": "18", "id": 1},
    {"response": r"so \boxed{17}", "label": "18", "id": 2},
    {"response": "I do not know", "label": "18", "id": 3},
    {"response": r"\boxed{1/2}", "label": "0.5", "id": 4},
    {"response": r"\boxed{72}", "label": "48 + 24 = 72\n#### 72", "id": 5},
]


@pytest.fixture(autouse=True)
def few_processes(monkeypatch):
    """Also so that the command does not set the variable for the tests that follow."""
    monkeypatch.setenv("MARGE_GRADER_WORKERS", "1")


def write(path, rows, text=""):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + text)
    return str(path)


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_accuracy_reasons_and_rows_in_order(tmp_path, capsys, ending):
    file, out = tmp_path / f"responses.{ending}", tmp_path / "graded.jsonl"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), file)
    else:
        write(file, ROWS, "\n")  # a blank line is no row
    assert cli.main([str(file), "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    # 3 of 5 correct: sqrt(0.6 * 0.4 / 4) = 0.2449
    over = "5 responses; give --problem_key if several are to one problem"
    assert said[0] == f"{file}: accuracy 0.6000 +- 0.2449 (standard error over {over})"
    assert [line.split() for line in said[1:]] == [
        ["correct", "3", "60.00%"],
        ["wrong", "1", "20.00%"],
        ["no_answer", "1", "20.00%"],
        ["unparsable", "0", "0.00%"],
        ["timeout", "0", "0.00%"],
        ["error", "0", "0.00%"],
    ]
    verdicts = [(True, "correct"), (False, "wrong"), (False, "no_answer"), (True, "correct"), (True, "correct")]
    assert read(out) == [
        row | {"correct": correct, "reason": reason} for row, (correct, reason) in zip(ROWS, verdicts, strict=True)
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([file.name, out.name])


def test_order_is_kept_whatever_the_workers(tmp_path):
    rows = [{"r": rf"\boxed{{{i}}}", "gold": i % 7, "text": "\ud83d é"} for i in range(300)]
    out = tmp_path / "out.jsonl"
    flags = ["--response_key", "r", "--label_key", "gold", "--workers", "3", "--out", str(out)]
    assert cli.main([write(tmp_path / "in.jsonl", rows), *flags]) == 0
    graded = read(out)
    assert [row["r"] for row in graded] == [row["r"] for row in rows]
    assert [row["correct"] for row in graded] == [i == i % 7 for i in range(300)]
    assert graded[0]["text"] == "\ud83d é"


def test_the_first_responses_are_graded_before_the_last_is_read(tmp_path, monkeypatch):
    """Rows are streamed: never more in memory than the threads need."""
    read_so_far, graded_so_far, most = 0, 0, 0
    real_rows, real_grade = cli.read_rows, cli.grade

    def rows(path):
        nonlocal read_so_far, most
        for row in real_rows(path):
            read_so_far += 1
            yield row
            most = max(most, read_so_far - graded_so_far)

    def grade(response, gold):
        nonlocal graded_so_far
        graded_so_far += 1
        return real_grade(response, gold)

    monkeypatch.setattr(cli, "read_rows", rows)
    monkeypatch.setattr(cli, "grade", grade)
    assert cli.main([write(tmp_path / "in.jsonl", ROWS * 100), "--workers", "1"]) == 0
    assert (read_so_far, graded_so_far) == (500, 500) and most <= cli.AHEAD + 2


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"response": "a"', "line 6 is not JSON: "),
        ("[1]", "line 6 is JSON but no object with keys"),
        ('{"label": "1"}', "line 6: the key 'response' (--response_key) is missing; there is label"),
        ('{"response": "a", "label": null}', "line 6: the value of 'label' (--label_key) is null; fill it or drop"),
        ('{"response": "a", "label": " "}', "line 6: the value of 'label' (--label_key) is empty; fill it or drop"),
        ('{"response": ["a"], "label": "1"}', "line 6: the value of 'response' (--response_key) is a list and no te"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line_and_leaves_no_file(tmp_path, capsys, line, sentence):
    file = write(tmp_path / "bad.jsonl", ROWS, line + "\n" + json.dumps(ROWS[0]))
    assert cli.main([file, "--out", str(tmp_path / "out.jsonl")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"grade: error: {file}, {sentence}")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.jsonl"]


def test_missing_empty_and_torn_files_are_named(tmp_path, capsys):
    torn, latin = tmp_path / "torn.parquet", tmp_path / "latin.jsonl"
    torn.write_bytes(b"PAR1 and no more")
    latin.write_bytes('{"response": "é"}'.encode("latin-1"))
    for file, sentence in (
        ("/no/such.jsonl", "/no/such.jsonl: there is no such file"),
        (str(tmp_path), f"{tmp_path} is a folder; name a file"),
        (write(tmp_path / "empty.jsonl", [], "\n"), "empty.jsonl has no rows"),
        (str(torn), "torn.parquet is no Parquet file"),
        (str(latin), "latin.jsonl, line 1 is not UTF-8 (invalid continuation byte); save it as UTF-8, uncompressed"),
    ):
        assert cli.main([file]) == 2
        assert sentence in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("f --workers 0", "--workers 0 must be at least 1"),
        ("f --check_gold --out o", "--out does not go with --check_gold"),
        ("f --check_gold --problem_key o", "--problem_key does not go with --check_gold"),
        ("", "the following arguments are required: file"),
    ],
)
def test_bad_flags(capsys, flags, sentence):
    with pytest.raises(SystemExit) as error:
        cli.main(flags.split())
    assert error.value.code == 2 and sentence in capsys.readouterr().err


def test_gold_answers_that_cannot_be_right_are_listed(tmp_path, capsys):
    labels = ["18", "two steps, 20 - 2\n#### 18", r"\frac{1}{2", r"\frac{3}{4}", 7]
    file = write(tmp_path / "data.jsonl", [{"answer": label} for label in labels])
    assert cli.main([file, "--check_gold", "--label_key", "answer"]) == 1
    said = capsys.readouterr().out.strip().splitlines()
    assert len(said) == 2 and said[0].startswith(f"{file}, line 3: '\\\\frac{{1}}{{2' (")
    assert said[1] == f"{file}: 4 of 5 gold answers are accepted by the grader"


def test_a_good_data_set_passes_the_check(tmp_path, capsys):
    file = write(tmp_path / "data.jsonl", ROWS)
    assert cli.main([file, "--check_gold"]) == 0
    assert capsys.readouterr().out == f"{file}: 5 of 5 gold answers are accepted by the grader\n"


def test_one_response_has_no_standard_error(tmp_path, capsys):
    cli.main([write(tmp_path / "one.jsonl", ROWS[:1])])
    assert "accuracy 1.0000 +- n/a (standard error over 1 response)" in capsys.readouterr().out


def test_responses_to_one_problem_are_no_news_of_each_other(tmp_path, capsys):
    """Two problems, one always and one never solved: 2/1 * (1 + 1) = 4, and sqrt(4) / 4 = 0.5; it was 0.2887."""
    file = write(tmp_path / "r.jsonl", [row | {"input": row["id"]} for row in ROWS[:2] * 2])
    assert cli.main([file, "--problem_key", "input"]) == 0
    assert "accuracy 0.5000 +- 0.5000 (standard error over 4 responses to 2 problems)" in capsys.readouterr().out
    cli.main([file])
    assert "accuracy 0.5000 +- 0.2887 (standard error over 4 responses; give" in capsys.readouterr().out
    cli.main([write(tmp_path / "one.jsonl", [row | {"input": "?"} for row in ROWS]), "--problem_key", "input"])
    assert "accuracy 0.6000 +- n/a (standard error over 5 responses to 1 problem)" in capsys.readouterr().out
    assert cli.main([file, "--problem_key", "prompt", "--out", str(tmp_path / "out.jsonl")]) == 2
    assert "r.jsonl, line 1: the key 'prompt' (--problem_key) is missing" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


def test_the_responses_are_not_replaced(tmp_path, capsys):
    file = write(tmp_path / "r.jsonl", ROWS)
    assert cli.main([file, "--out", f"{tmp_path}/./r.jsonl"]) == 2 and read(tmp_path / "r.jsonl") == ROWS
    assert "r.jsonl is a file that is read, " in capsys.readouterr().err


def test_a_grader_that_cannot_run_is_one_sentence_and_no_verdict(tmp_path, capsys, monkeypatch):
    def unavailable(*_, **__):
        raise GraderUnavailable("the grader's process ended at its start")

    monkeypatch.setattr(GraderPool, "symbolically_equal", unavailable)
    file = write(tmp_path / "responses.jsonl", [*ROWS, {"response": r"\boxed{x+x+y}", "label": "2x+y"}])
    assert cli.main([file, "--out", str(tmp_path / "graded.jsonl")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.endswith("grade: error: the grader's process ended at its start\n")
    assert [path.name for path in tmp_path.iterdir()] == ["responses.jsonl"]
