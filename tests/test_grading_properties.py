"""What holds for any text: no exception but the declared ones, and verdicts that fit together."""

import re
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("latex2sympy2", reason="the symbolic part is not installed")

from openrlhf_marge.grading import REASONS, grade, grade_gold
from openrlhf_marge.grading.comparison import equal
from openrlhf_marge.grading.errors import Unparsable
from openrlhf_marge.grading.extraction import final_answer
from openrlhf_marge.grading.latex import clean
from openrlhf_marge.grading.numbers import read_number
from openrlhf_marge.grading.structure import parse
from openrlhf_marge.grading.symbolic import symbolically_equal

PIECES = re.findall(
    r"\S+",
    r"""
1 2 0 17 3.5 .5 1,234 x y n e i pi + - * / ^ _ = < > ( ) [ ] { } | ! , ; : . % $ ~ & # \ ' " \frac \dfrac \frac12 \sqrt
\sqrt[3] \left \right \cdot \times \pm \infty \cup \in \le \ge \ne \text{ \mathrm{ \text{and} \{ \} \\ \begin{pmatrix}
\end{pmatrix} \boxed{ \boxed \pi \sin \cos \ln \log_2 \sum_{k=1}^{3} \int \binom{5}{2} ^\circ \% \$ or and cm dollars
answer is Answer: #### <|im_end|> </think> \n √ ² ∞ ⟦ ⟧ ٣ 七
""",
)
LATEX = st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join) | st.lists(
    st.sampled_from(PIECES), max_size=25
).map("".join)
ANY = LATEX | st.text(max_size=200)
NUMBERS = st.fractions(max_denominator=10**4).filter(lambda f: abs(f) < 10**9)


@given(ANY, ANY)
@settings(max_examples=600)
def test_every_text_gets_a_verdict(response, gold):
    def symbolic(a, b):
        raise Unparsable("not asked here")

    assert grade(response, gold, symbolic).reason in REASONS
    assert grade_gold(gold, symbolic).reason in REASONS


@given(ANY)
@settings(max_examples=400)
def test_cleaning_reading_and_extraction_take_any_text(text):
    cleaned = clean(text)
    read_number(cleaned)
    parse(cleaned)
    assert final_answer(text) is None or final_answer(text).strip()


@given(LATEX, LATEX)
@settings(max_examples=150)
def test_the_symbolic_part_answers_or_says_that_it_cannot_read(answer, gold):
    with suppress(Unparsable):
        assert symbolically_equal(clean(answer), clean(gold)) in (True, False)


@given(ANY)
@settings(max_examples=300)
def test_an_answer_equals_itself(answer):
    assert equal(answer, answer, lambda a, b: False)


def spellings(value: Fraction) -> list[str]:
    sign, top, bottom = "-" * (value < 0), abs(value.numerator), value.denominator
    found = [f"{value}", rf"{sign}\frac{{{top}}}{{{bottom}}}", rf"\dfrac{{{sign}{3 * top}}}{{{3 * bottom}}}"]
    found += [f"{value} \\text{{ cm}}", f"${value}$", rf"{sign}\left(\frac{{{top}}}{{{bottom}}}\right)"]
    if bottom == 1:
        found += [f"{value.numerator:,}", f"{value}.0", rf"\{{{value}\}}"]
    return found


@given(NUMBERS)
def test_a_number_is_the_same_in_every_spelling_and_its_neighbours_are_not(value):
    for one in spellings(value):
        assert equal(one, str(value), symbolically_equal), one
        assert not equal(one, str(value + 1), symbolically_equal), one
        if value:
            assert not equal(one, str(-value), symbolically_equal), one


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_lists_in_any_order_tuples_in_theirs(items, rng):
    shuffled = rng.sample(items, len(items))
    one, other = (", ".join(map(str, values)) for values in (items, shuffled))
    assert equal(other, one, symbolically_equal)
    assert equal(rf"\{{{other}\}}", one, symbolically_equal)
    assert equal(f"({other})", f"({one})", symbolically_equal) is (items == shuffled)
    assert not equal(f"{other}, 99", one, symbolically_equal)


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=5), st.integers(-9, 9), st.integers(1, 9))
@settings(max_examples=60)
def test_a_polynomial_equals_its_horner_form_and_no_other(coefficients, at, change):
    degree = len(coefficients) - 1
    powers = " + ".join(f"({c}) x^{{{degree - i}}}" for i, c in enumerate(coefficients))
    horner = f"({coefficients[0]})"
    for c in coefficients[1:]:
        horner = f"({horner} \\cdot x + ({c}))"
    assert equal(horner, powers, symbolically_equal)
    assert not equal(f"{horner} + {change}", powers, symbolically_equal)
