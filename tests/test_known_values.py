"""The problems of known values that tests/benchmarks/vine.py measures advantages on, and what it says of them."""

import asyncio
import sys
from itertools import product
from math import prod
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))  # before a package of the name vine

import vine
from known_values import S0, Chain, KnownModel, StepAdvantage, errors_of, of_completions, of_guidance, verdicts

from factories import explorer, problem, text_ids

CHANCES = st.sampled_from([0.0, 0.2, 0.5, 1.0])


@given(st.lists(CHANCES, min_size=1, max_size=5), CHANCES)
def test_a_value_is_the_share_of_the_ways_that_end_right(keeps, repairs):
    def chance(path):
        becomes = [keep if before else repairs for keep, before in zip(keeps, (True, *path), strict=False)]
        return prod(b if after else 1 - b for b, after in zip(becomes, path, strict=True))

    ways = product([True, False], repeat=len(keeps))
    assert Chain(tuple(keeps), repairs).value(0, True) == pytest.approx(sum(chance(p) for p in ways if p[-1]))


def test_values_along_a_chain_that_is_never_repaired_and_one_that_is():
    assert [Chain((0.5, 0.25)).value(done, True) for done in (0, 1, 2)] == [0.125, 0.25, 1.0]
    assert Chain((0.5, 0.25)).value(1, False) == 0.0
    assert Chain((0.5, 0.25), repairs=0.5).value(0, True) == 0.5 * 0.25 + 0.5 * 0.5


def test_completions_go_on_from_the_steps_of_their_prefix():
    model = KnownModel({"p": Chain((1.0, 1.0, 0.0))})
    (whole,) = asyncio.run(model.complete(problem(), text_ids(S0), 1, 0))
    assert verdicts(whole.token_ids) == [True, True, False] and whole.reward == 0.0
    text = "".join(map(chr, whole.token_ids))
    assert text[6:9] == "+2:" and text[15:18] == "+3:" and text[24:] == "-\0"
    (rest,) = asyncio.run(model.complete(problem(), text_ids("1:abcdef-2:"), 1, 0))
    assert verdicts(rest.token_ids) == [False, False] and len(rest.token_ids) == 7 + 2 + 7 + 1


def visit(chain, n=2, **flags):
    flags = {"split": "step", "step_label": r"\d:", "cot_prefix": S0} | flags
    return asyncio.run(explorer(KnownModel({"p": chain}), s0_ids=text_ids(S0), n=n, **flags).explore(problem()))


def test_of_a_certain_chain_every_estimate_and_every_true_advantage_is_zero_but_those_of_failed_steps():
    chain = Chain((1.0, 1.0, 0.0))
    (group,) = visit(chain, explore="vineppo", vine_samples=2).groups
    assert [(s.estimate, s.truth) for s in of_completions(chain, group, "vine")] == [(0.0, 0.0)] * 6
    sure = Chain((1.0, 0.5, 1.0))
    (group,) = visit(sure, n=8, explore="vineppo", vine_samples=40).groups
    of_second = [s for s in of_completions(sure, group, "vine") if s.cell[1] == 1]
    assert {s.truth for s in of_second} == {-0.5, 0.5} and all(abs(s.estimate - s.truth) < 0.3 for s in of_second)
    assert {s.estimate for s in of_completions(sure, group, "vine") if s.cell[1] == 2} == {0.0}


def test_a_guidance_is_credited_with_the_differences_of_its_values():
    chain = Chain((1.0, 0.5, 1.0))
    groups = visit(chain, n=8, guidance_source="fresh").groups
    first, second = of_guidance(chain, groups)
    assert first.cell == ("p", 0, True, True) and first.truth == 0.0
    assert first.estimate == 0  # s_0's completions decided that there is this guidance: no value to gain over
    assert second.cell[1] == 1 and second.truth == groups[2].value - 0.5  # after the second step all is decided
    assert second.estimate == groups[2].value - groups[1].value


def test_a_completion_level_advantage_is_that_of_every_step():
    chain = Chain((0.5, 1.0))
    (group,) = visit(chain, n=8, explore="vanilla", split="tokens", n_states=1).groups
    steps = of_completions(chain, group, "mean")
    rate = group.pass_rate
    assert [s.estimate for s in steps] == [r - rate for c in group.completions for r in (c.reward,) * 2]
    assert {s.truth for s in steps if s.cell[1] == 0} == {-0.5, 0.5} and {s.truth for s in steps[1::2]} == {0.0}


def test_bias_and_variance_are_those_within_cells():
    def of(cell, truth, *estimates):
        return [StepAdvantage((cell, 0, True, True), estimate, truth) for estimate in estimates]

    found = errors_of([*of("a", 0.5, 0.0, 1.0), *of("b", -1.0, 0.0, 0.0), *of("c", 9.0, 9.0)])
    assert found.steps == 4 and found.variance == (0.5 * 2 + 0 * 2) / 4
    # The mean of a is right, and by chance: its variance over 2 is taken off; that of b is 1 off.
    assert found.bias == pytest.approx(((0 - 0.25) * 2 + 1 * 2) ** 0.5 / 2)
    assert found.rmse == pytest.approx((found.bias**2 + found.variance) ** 0.5)
    exact = errors_of(of("a", 0.5, 2.0, 2.0))  # but for a factor
    assert (exact.correlation, exact.explained) == pytest.approx((1.0, 0.25))
    assert errors_of([*of("a", 0.5, 1.0, 1.0), *of("b", 0.5, -1.0, -1.0)]).correlation == 0.0


def test_vineppo_is_unbiased_and_a_response_level_advantage_is_not():
    chains = vine.make_chains(3, 3, 0.1, 0)
    assert [0.05 < chain.value(0, True) < 1 for chain in chains.values()] == [True] * 3
    of_steps, of_responses = vine.METHODS[1], next(m for m in vine.METHODS if m.name == "mean, n = 8")
    errors = []
    for method in (of_steps, of_responses):
        found = asyncio.run(vine.explored(method, chains, 60, 0))
        assert not found.of_guidance and found.tokens >= found.trained > 0
        errors.append(errors_of(found.of_completions))
    assert errors[0].bias < 0.03 < 0.1 < errors[1].bias
    assert errors[0].variance < errors[1].variance and errors[0].correlation > errors[1].correlation
