r"""Verdicts on answers in every spelling: each case is (response, gold answer).

Where only the answer matters it stands alone and is boxed here. The symbolic part runs in this process; that it also
does so in processes of its own is what test_grader_pool.py shows.
"""

import pytest

from openrlhf_marge.grading import grade, grade_gold, response_of
from openrlhf_marge.grading.extraction import final_answer
from openrlhf_marge.grading.latex import clean

pytest.importorskip("latex2sympy2", reason="the symbolic part is not installed")

from openrlhf_marge.grading import gold_answer
from openrlhf_marge.grading.symbolic import symbolically_equal, warm_up

SAME = {
    "numbers": [
        ("1,234.50", "1234.5"), ("12 345", "12345"), (r"12\,345", "12345"), (r"7{,}000", "7000"), ("+5", "5"),
        (r"{3 \over 4}", "0.75"), (r"\textcolor{red}{17}", "17"), ("sqrt(2)", r"\sqrt2"),
        (r"2+\frac12", r"2\frac12"), (r"\frac{1}{2}", "0.5"), (r"\dfrac12", ".5"), (r"\frac 3 4", "3/4"),
        (r"\frac{-3}{4}", r"-\frac34"), (r"3\frac{1}{2}", "3.5"), ("3 1/2", "7/2"), (r"\frac{10}{4}", r"\frac52"),
        ("0.3333333333", r"\frac13"), (r"0.\overline{3}", r"\frac13"), (r"2.5\times 10^{3}", "2500"),
        ("3E4", "30000"), (r"10^{-2}", "0.01"), ("8.", "8"), ("8.0", "8"), (r"\mathbf{8}", "8"),
        (r"\displaystyle 8", "8"), ("7+1", "8"), (r"\sqrt{64}", "8"),
    ],
    "units and signs": [
        (r"45^\circ", "45"), (r"\$18", "18"), ("18 dollars", "18"), (r"12\text{ cm}^2", "12"),
        (r"5~\mathrm{km}", "5"), (r"30\%", "30"), (r"30\%", "0.3"), ("0.3", r"30\%"), ("30 percent", r"30\%"),
        ("12 cm", "12"),
    ],
    "choices and words": [
        ("(B)", "B"), (r"\text{(B)}", "B"), (r"\textbf{(B) } 17", "B"), ("B.", r"\text{B}"),
        ("blue", r"\text{Blue}"), (r"\text{no solution}", "No solution"), (r"\mathrm{odd}", "odd"),
    ],
    "lists, tuples and sets": [
        ("200, 100", "100, 200"), ("125,216", "216,125"), (r"1{,}000, 2{,}000", "1000, 2000"), ("3, 1, 2", "1,2,3"),
        (r"1 \text{ or } 2", "2,1"), (r"\{2,1\}", "1,2"), ("x=1, x=2", "1,2"), (r"\pm 2", "2,-2"),
        (r"3 \pm \sqrt{2}", r"3+\sqrt{2}, 3-\sqrt{2}"), ("(1, 2)", r"\left(1,2\right)"), ("(x,y)=(1,2)", "(1,2)"),
        (r"\langle 1,2 \rangle", "(1,2)"), ("(2,1),(1,2)", "(1,2),(2,1)"), (r"\{1,2\}\cup\{2,3\}", r"\{1,2,3\}"),
    ],
    "intervals and inequalities": [
        ("[1, 2)", r"\left[1,2\right)"), (r"x \in [1,2)", "[1,2)"),
        (r"(-\infty,1)\cup(2,\infty)", r"(2,\infty) \cup (-\infty,1)"), (r"[0,1]\cup[1,2]", "[0,2]"),
        ("(1,2)", "1<x<2"), (r"x \ge 3", r"[3,\infty)"), (r"3 \le x", r"x \geq 3"), ("-x < -1", "x > 1"),
        (r"\mathbb{R}", r"(-\infty,\infty)"), ("2x < 6", "x < 3"), (r"1 < x \le 2", "(1,2]"),
    ],
    "equations": [
        ("y = 2x + 1", "2x + 1"), ("2x+1", "y=2x+1"), ("2x - y + 1 = 0", "y = 2x + 1"), ("k = 3", "3"), ("3", "k=3"),
        (r"\begin{cases}x=1\\y=2\end{cases}", "x=1, y=2"), ("x_{1}=1, x_2=3", "x=1,x=3"), ("m+n = 8", "8"),
        ("f(x) = x^2", "x^2"), ("4x+2y=6", "2x+y=3"), ("y=3, x=1", "x=1,y=3"),
    ],
    "matrices": [
        (r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\ \frac42\end{pmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)"),
    ],
    "symbols": [
        (r"\sin\pi", "0"), (r"\sin^2 x+\cos^2 x-1", "0"), (r"\frac{3\pi}{2}", r"1\frac12\pi"),
        (r"\cos 60^\circ", "1/2"), (r"{5 \choose 2}", "10"), ("x(x+1)", "x^2+x"), ("(a-b)(a+b)", "a^2-b^2"),
        (r"\frac{x^2-1}{x-1}", "x+1"), (r"\frac{1}{\sqrt2}", r"\frac{\sqrt2}{2}"), (r"\sqrt{12}", r"2\sqrt3"),
        (r"\sqrt[3]{-8}", "-2"), (r"\ln 9", r"2\ln 3"), (r"\log_2 8", "3"), (r"e^{x+1}", r"e\cdot e^x"),
        (r"\sin 2x", r"2\sin x\cos x"), (r"\sin^2 x", r"1-\cos^2(x)"), (r"\sqrt{-9}", "3i"), (r"\frac{1}{i}", "-i"),
        (r"\binom{6}{2}", "15"), ("4!", "24"), (r"(n+1)\cdot n!", "(n+1)!"), (r"\lfloor 2.7 \rfloor", "2"),
        (r"|{-4}|", "4"), (r"\sum_{k=1}^{4} k", "10"), (r"\frac{2\pi}{3}", r"2\pi/3"),
        (r"2/3\,\pi", r"\frac{2\pi}{3}"), ("2^{n}+2^n", "2^{n+1}"), (r"\frac{d}{dx} x^2", "2x"),
        (r"\frac{2E}{v_1}", r"2E/v_{1}"), (r"\sqrt{x}", "x^{1/2}"), (r"\cos(x)y", r"y\cos x"),
    ],
}  # fmt: skip
DIFFERENT = {
    "numbers": [
        (r"12\text{ million}", "12"), (r"12^\circ 30'", "1230"), ("3 4", "12"), ("2^{100}", "2^{100}+1"),
        (r"2\cdot\frac12", r"2\frac12"), ("1234", "12345"), ("3.14", r"\pi"), ("1.41", r"\sqrt2"),
        ("0.33", r"\frac13"), ("60", "0.6"), ("10^{5}", "105"), (r"2\frac12", r"\frac{21}{2}"), ("1001_2", "1011_2"),
        ("1,2", "12"), ("3:2", "32"), ("1e-9", "0"), ("-5", "5"), ("100000000", "100000001"), (r"\infty", "7"),
        (r"-\infty", r"\infty"), (r"\frac{1}{0}", "1"),
    ],
    "choices and words": [
        (r"\text{I only}", r"\text{I and II}"), ("C+1", "C"), ("D=5", "D"), ("(A)", "B"), ("odd", "even"),
        (r"\text{Anna}", r"\text{Ben}"), ("B", "8"),
    ],
    "lists, tuples and sets": [
        ("123, 456", "123456"), ("(1,234)", "1234"), ("1,2,2", "1,1,2"), (r"\{1,\{2\}\}", r"\{\{1\},2\}"),
        ("A and B", "A"), ("1,2,3", "1,2"), ("1", "1,2"), ("(2,1)", "(1,2)"), (r"\{1,2\}", "(1,2)"),
        ("(1,2,0)", "(1,2)"), ("1 or 2", "1"),
    ],
    "intervals and inequalities": [
        ("(1,2)", "[1,2]"), ("(1,2]", "[1,2)"), ("x < 1", "x > 1"), (r"x \le 1", "x<1"), ("1<x<3", "(1,2]"),
        ("-x<1", "x<1"),
    ],
    "equations": [
        ("x=6,y=5", "x=5,y=6"), ("xy=6", "x=6"), ("y=2x", "y'=2x"), ("x=3", r"\sqrt x=3"), ("x=3", "y=3"),
        ("(y,x)=(1,2)", "(x,y)=(1,2)"), ("1", "2x+z=1"), ("0", "a^2+b=0"), ("y=2x", "y=3x"), ("x=2", "x=3"),
        ("x^2=4", "x=2"),
    ],
    "matrices": [(r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
                 (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"),
                 (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}")],
    "symbols": [
        ("2^{2024}", "2^{2024}-1"), (r"1-\frac{1}{2^{2020}}", "1"), ("50!", "50!+1"), ("x+10^{-40}", "x"),
        ("3-x", "|x-3|"), (r"\lfloor n/4 \rfloor", r"\lfloor n/3 \rfloor"), (r"\max(x,5)", "5"),
        ("f(g(x))", "g(f(x))"), (r"f\circ g", "fg"), ("(1+r)^T", "1+r"), ("f'(x)", "f(x)"), ("A^T", "A"),
        (r"\frac{dy}{dx}", r"\frac{dx}{dy}"), ("x.__class__", "x"), ("x^2y", "x^{2y}"),
        (r"\sqrt{3x}", r"\sqrt[3]{x}"), (r"\sqrt{35}", r"\sqrt{3}5"), (r"\sin x^2", r"\sin^2 x"), ("3+4i", "3-4i"),
        (r"\frac{x+1}{2y}", r"\frac{x+1}{2}y"), ("x+a", "x+b"), ("|x|", "x"), (r"\sqrt{x^2}", "x"), ("f(x)", "f(y)"),
        ("x_1", "x_2"), (r"\log_2 3", r"\log_3 2"), ("(2+3)x", "2+3x"), ("-(x-5)", "x-5"),
        (r"\ln x", r"\log_{10} x"), ("2x", "2"), ("269x", "269"),
    ],
}  # fmt: skip
RESPONSES = [
    (r"so \boxed{18}", "18", True), (r"\boxed{3} no, \boxed{18}<|im_end|>", "18", True),
    (r"\boxed {18}", "18", True), (r"\fbox{18}", "18", True), (r"$\boxed 5$", "5", True),
    (r"\boxed{\frac{1}{2}} I hope", "1/2", True), (r"\boxed{\boxed{4}}", "4", True),
    (r"within \boxed{}. The answer is 7.", "7", True), (r"\boxed{8} then \boxed{", "8", True),
    (r"\boxed{1} and \boxed{2}", "1,2", True), (r"\boxed{1} and \boxed{2}", "2", False),
    (r"\boxed{2} so that \boxed{1}", "1", True), ("a\n#### 18", "work\n#### 18", True), ("#### 1,800", "1800", True),
    ("The answer is: 7.</s>", "7", True), ("The final answer is $(1,2)$. I hope it is correct.", "(1,2)", True),
    ("**Answer:** 12", "12", True), ("Final Answer: The largest $n$ is 34.", "34", True),
    ("the correct answer is C", "C", True), ("Answer: $x^2$", "x^2", True),
    ("It is D because A is wrong", "D", False), ("Answer:\n\\[ 9 \\]", "9", True),
    ("The answer is **17**.", "17", True), ("the answer is $\\$17$.", "17", True),
    ("The answer is 9, not 8.", "8", False), ("The answer is A or B.", "A", False),
    ("The answer is 12 cm^2.", "12", True), ("最终答案是 \\boxed{7}。", "7", True),
    ("<think>\\boxed{3}</think>\\boxed{4}", "4", True), ("<think>\\boxed{3}</think>\\boxed{4}", "3", False),
    (r"4 is a step. \boxed{5}", "4", False), ("so we get 28 percent", r"28\%", True),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def warm():
    warm_up()


def boxed(answer: str) -> str:
    return f"The answer is $\\boxed{{{answer}}}$."


@pytest.mark.parametrize("kind", SAME)
def test_the_same_answer_in_another_spelling_is_correct(kind):
    wrong = [(a, g) for a, g in SAME[kind] if grade(boxed(a), g, symbolically_equal).reason != "correct"]
    assert not wrong


@pytest.mark.parametrize("kind", DIFFERENT)
def test_another_answer_is_wrong_whichever_of_the_two_is_the_gold_one(kind):
    one_way = {("x^2=4", "x=2"), ("1", "2x+z=1"), ("0", "a^2+b=0")}  # an equation answers with its right side
    pairs = DIFFERENT[kind] + [(g, a) for a, g in DIFFERENT[kind] if (a, g) not in one_way]
    assert not [pair for pair in pairs if grade(boxed(pair[0]), pair[1], symbolically_equal).correct]


@pytest.mark.parametrize(("response", "gold", "correct"), RESPONSES)
def test_where_the_answer_stands_in_a_response(response, gold, correct):
    assert grade(response, gold, symbolically_equal).correct is correct, final_answer(response)


@pytest.mark.parametrize(
    ("response", "gold", "reason"),
    [
        (r"\boxed{18}", "18", "correct"), (r"\boxed{17}", "18", "wrong"), ("I do not know", "18", "no_answer"),
        ("", "18", "no_answer"), (r"\boxed{18", "18", "no_answer"), (r"\boxed{x\foo{2}}", "x+2", "unparsable"),
        (r"\boxed{2}", " ", "unparsable"),
    ],
)  # fmt: skip
def test_the_reason_of_a_verdict(response, gold, reason):
    assert grade(response, gold, symbolically_equal).reason == reason


def test_every_answer_above_is_clean_after_one_cleaning():
    for answer in {text for cases in (SAME, DIFFERENT) for pairs in cases.values() for pair in pairs for text in pair}:
        assert clean(clean(answer)) == clean(answer)


READABLE = ["18", r"\frac{x+1}{2}", "(1,2]", "no solution", "y=2x+1", r"\text{(C)}", "work\n#### 5"]


@pytest.mark.parametrize("gold", READABLE)
def test_gold_answers_that_can_be_read(gold):
    assert grade_gold(gold, symbolically_equal).correct


@pytest.mark.parametrize("gold", ["", "###", r"\frac{x+1}{2", r"\unknown{x}+1", "x^" * 300])
def test_gold_answers_that_cannot(gold):
    assert grade_gold(gold, symbolically_equal).reason == "unparsable"


def test_the_response_is_what_follows_the_prompt():
    assert response_of("Q: 1+1? A: 2", "Q: 1+1? A:") == " 2"


def test_white_space_changed_by_decoding_does_not_matter():
    assert response_of("<s> Q:\n1+1 ? A: 2", "<s>Q: 1+1? A:") == " 2"


def test_an_answer_in_the_prompt_is_never_graded():
    prompt = r"Write \boxed{7}. Assistant:"
    assert grade(response_of(prompt + " I do not know", prompt), "7").reason == "no_answer"
    with pytest.raises(ValueError, match="does not start with its prompt"):
        response_of("another " + prompt, prompt)


def test_the_last_hashes_of_a_gold_label_hold_its_answer():
    assert gold_answer("#### a step\n3 + 4 = 7\n#### 7") == "7"


@pytest.mark.parametrize(
    ("response", "gold", "correct"),
    [
        (r"\boxed{(0,\frac{\pi}{4})\cup(1,3)}", "(0,3)", False),  # pi/4 is below 1
        (r"\boxed{(0,\frac{\pi}{2})\cup(1,3)}", "(0,3)", True),
        (r"\boxed{1000001.0}", "1000000", False),  # a decimal of zeros is exact
        (r"\boxed{0.0000015}", "0.000001", False),  # the tolerance is a share
        (r"\boxed{1234567.8}", "1234567.9", True),
        (r"The answer is 5. \boxed{answer}", "5", True),
        ("The answer is A or B.", "A, B", False),
        ("First 12. Then 5.", "5", True),
        ("First 12. Then 5.", "12", False),
    ],
)
def test_what_a_response_is_worth(response, gold, correct):
    assert grade(response, gold).correct is correct
