import itertools
import json

import pytest

from openrlhf_marge.cli.evaluate import parse_args, read_rows
from openrlhf_marge.evaluation import mean_pass_at_k, pass_at_k


@pytest.mark.parametrize(("n", "c", "k", "value"), [(4, 2, 1, 0.5), (4, 2, 2, 5 / 6), (4, 0, 4, 0.0), (4, 1, 4, 1.0)])
def test_the_unbiased_estimate(n, c, k, value):
    assert pass_at_k(n, c, k) == pytest.approx(value)


def test_it_is_the_share_of_draws_of_k_that_hold_a_correct_one():
    draws = list(itertools.combinations([1, 1, 0, 0, 0, 0], 3))
    assert pass_at_k(6, 2, 3) == pytest.approx(sum(any(d) for d in draws) / len(draws))


def test_mean_and_standard_error_over_problems():
    estimate = mean_pass_at_k([4, 0, 2, 2], n=4, k=1)
    assert estimate.mean == 0.5
    assert estimate.standard_error == pytest.approx(0.2041241)  # sqrt(((.5^2 + .5^2) / 3) / 4)


def test_k_above_n_is_refused():
    with pytest.raises(ValueError, match="pass@5 of 1 correct among 4"):
        pass_at_k(4, 1, 5)
    with pytest.raises(SystemExit):
        parse_args(["--model", "m", "--data", "d", "--out", "o", "--n", "4", "--k", "5"])


def test_a_row_without_label_is_named(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps({"input": "q", "label": label}) for label in ("1", "")))
    with pytest.raises(ValueError, match=r"data.jsonl, row 2: the column 'label' \(--label_key\) is missing or empty"):
        read_rows(str(path), "input", "label")
    with pytest.raises(ValueError, match="there is no such file"):
        read_rows(str(tmp_path / "no.jsonl"), "input", "label")
