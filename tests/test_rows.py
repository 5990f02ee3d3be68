"""JSONL files as streams of rows, and tokenizers that run no code of a model."""

import pytest

from openrlhf_marge.data import rows
from openrlhf_marge.data.rows import count_rows, read_rows
from openrlhf_marge.models import check_model, load_tokenizer


@pytest.fixture
def short_rows(monkeypatch):
    monkeypatch.setattr(rows, "MAX_ROW_BYTES", 20)


def test_a_row_of_more_bytes_than_may_be_is_named_and_not_read(tmp_path, short_rows):
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": 1}\n\n{"a": "' + "x" * 10 + '"}\n{"a": 2}')  # the third line has 20 bytes with its end
    assert [row.place for row in read_rows(path)] == [f"{path}, line {number}" for number in (1, 3, 4)]
    assert count_rows(path) == 3
    path.write_text('{"a": 1}\n{"a": "' + "x" * 11 + '"}\n')
    for read in (lambda: list(read_rows(path)), lambda: count_rows(path)):
        with pytest.raises(ValueError, match=r"data.jsonl, line 2 has more than 20 bytes; split or drop the row"):
            read()


def test_a_file_that_never_ends_its_line_is_no_endless_reading(short_rows):
    with pytest.raises(ValueError, match="/dev/zero, line 1 has more than 20 bytes"):
        next(rows.read_rows(rows.Path("/dev/zero")))


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_row_of_the_real_limit_is_read(tmp_path, end):
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": "' + "x" * (rows.MAX_ROW_BYTES - 9 - len(end)) + '"}' + end)
    assert path.stat().st_size == rows.MAX_ROW_BYTES == 64 * 2**20
    assert len(next(read_rows(path)).values["a"]) > 6 * 10**7


@pytest.mark.parametrize(
    ("load", "name"), [(load_tokenizer, "AutoTokenizer"), (lambda m: check_model(m, 1), "AutoConfig")]
)
def test_code_that_a_model_brings_is_not_run_and_nobody_is_asked_about_it(tmp_path, monkeypatch, load, name):
    transformers = pytest.importorskip("transformers")
    asked = []

    def from_pretrained(model, **options):
        asked.append(options)
        raise OSError("no model")

    monkeypatch.setattr(getattr(transformers, name), "from_pretrained", from_pretrained)
    with pytest.raises(ValueError, match="no model"):
        load("a/model")
    assert asked == [{"trust_remote_code": False}]


def test_a_number_that_is_none_is_no_gold_answer(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"label": 7.5}\n{"label": NaN}\n')
    good, bad = read_rows(tmp_path / "x.jsonl")
    assert good.text("label", "--label_key") == "7.5"
    with pytest.raises(ValueError, match=r"x.jsonl, line 2: the value of 'label' \(--label_key\) is nan; fill it"):
        bad.text("label", "--label_key")
