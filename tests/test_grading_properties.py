"""What holds for any text: no exception but the declared ones, and verdicts that fit together."""

import re
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
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
answer is Answer: #### <|im_end|> </think> \n √ ² ∞ ⟦ ⟧ ٣ 七 A B C leaving eliminates million hours 9 chickens
Question: ``` \boxed{} \text{The \mathrm{~s} \setminus \lor \imath {g}_{k} sqrt( pi ⅔ － ＄ ¢ 答案：
because not more than :
""",
)
LATEX = st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join) | st.lists(
    st.sampled_from(PIECES), max_size=25
).map("".join)
ANY = LATEX | st.text(max_size=200)
NUMBERS = st.fractions(max_denominator=10**4).filter(lambda f: abs(f) < 10**9)


@given(ANY, ANY)
@example("\\cup", "\\cup , 1")  # a list that begins with a union and has no condition
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


WRAPPERS = [
    r"\boxed{G}", r"So $x = \boxed{G}$.", "The answer is G.", "The final answer is $G$.", "#### G", "#### $G$",
    "Answer: G", "**Answer:** G", 'The answer is "G".', "Final answer:\n```\nG\n```", "<answer>G</answer>",
    "答案：G", "Respuesta: G", r"\boxed{8} in between.\n\nAnswer: G",
    "5 is a step.\nThe answer is G.\n\nQuestion: how many?\nThe answer is 31.",
]  # fmt: skip
CHANGES = [
    " sqrt(3)", " ln 2", " (x + 1)", "!", " million", " billion", r"\pi", " and 31", " or 31", ", 31", "x", "^2",
    " + x", r" \cdot 31", ":31", "e^2",
]  # fmt: skip


@given(st.integers(3, 10**7), st.sampled_from(WRAPPERS), st.booleans())
def test_a_number_is_read_whole_in_every_wrapper(value, wrapper, grouped):
    response = wrapper.replace(r"\n", "\n").replace("G", f"{value:,}" if grouped else str(value))
    assert grade(response, str(value), symbolically_equal).correct, response
    head, tail = divmod(value, 1000)
    for part in {head, tail, value + 1, int(str(value)[1:] or 0)} - {value}:
        assert not grade(response, str(part), symbolically_equal).correct, (response, part)


@given(st.integers(3, 10**5), st.sampled_from(WRAPPERS), st.sampled_from(CHANGES))
def test_what_follows_a_number_is_never_dropped(value, wrapper, change):
    response = wrapper.replace(r"\n", "\n").replace("G", f"{value}{change}")
    assert not grade(response, str(value), symbolically_equal).correct, response
    assert not grade(response, "31", symbolically_equal).correct, response


@given(st.lists(st.integers(1, 999), min_size=2, max_size=4, unique=True), st.sampled_from(WRAPPERS), st.data())
def test_a_list_is_read_whole_in_every_wrapper(items, wrapper, data):
    joint = data.draw(st.sampled_from([", ", ", and ", " and "]))
    response = wrapper.replace(r"\n", "\n").replace("G", joint.join(map(str, items)))
    assert grade(response, ", ".join(map(str, reversed(items))), symbolically_equal).correct, response
    for part in (items[:1], items[1:], items[:-1], [*items, 1000]):
        assert not grade(response, ", ".join(map(str, part)), symbolically_equal).correct, (response, part)


UNITS = {"mm": 1, "cm": 10, "m": 1000, "km": 10**6}


@given(st.integers(1, 10**4), st.sampled_from(sorted(UNITS)), st.integers(1, 10**4), st.sampled_from(sorted(UNITS)))
def test_lengths_are_equal_when_they_are_and_a_length_is_no_time(a, unit, b, other):
    one, another = rf"{a} \text{{ {unit}}}", rf"{b} \text{{ {other}}}"
    assert equal(one, another, symbolically_equal) is (a * UNITS[unit] == b * UNITS[other])
    assert equal(rf"{a * UNITS[unit]} \text{{ mm}}", one, symbolically_equal)
    assert equal(one, str(a), symbolically_equal)
    assert not equal(one, rf"{a} \text{{ hours}}", symbolically_equal)


@given(st.sets(st.sampled_from("ABCDE"), min_size=1, max_size=3), st.sampled_from(["A, B", "B and C", "D or E", "A"]))
def test_a_choice_is_what_is_left_of_those_ruled_out(picked, out):
    letters = ", ".join(sorted(picked))
    for response in (f"This rules out {out}, leaving {letters}.", f"The answer is {letters}, not {out}."):
        assert grade(response, letters, symbolically_equal).correct, response
        for other in set("ABCDE") - (picked if len(picked) == 1 else set()):
            assert not grade(response, other, symbolically_equal).correct, (response, other)


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
