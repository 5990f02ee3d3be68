import pytest

from openrlhf_marge.grading import grade, response_of


@pytest.mark.parametrize(
    ("response", "gold", "reason"),
    [
        (r"so \boxed{18}", "18", "correct"),
        (r"\boxed{3} no, \boxed{18}<|im_end|>", "18", "correct"),
        (r"\boxed{\frac{1}{2}}", "0.5", "correct"),
        (r"\boxed{1,234.50}", "1234.5", "correct"),
        ("a\n#### 18", "work\n#### 18", "correct"),
        ("The answer is: 7.</s>", "7", "correct"),
        (r"\boxed{x^{2}}", "x^{2}", "correct"),
        (r"\boxed{17}", "18", "wrong"),
        (r"\boxed{1/0}", "1", "wrong"),
        (r"\boxed{18", "18", "no_answer"),
        ("18", "18", "no_answer"),
        ("", "18", "no_answer"),
    ],
)
def test_verdicts(response, gold, reason):
    assert grade(response, gold).reason == reason
    assert grade(response, gold).correct is (reason == "correct")


def test_the_response_is_what_follows_the_prompt():
    assert response_of("Q: 1+1? A: 2", "Q: 1+1? A:") == " 2"


def test_white_space_changed_by_decoding_does_not_matter():
    assert response_of("<s> Q:\n1+1 ? A: 2", "<s>Q: 1+1? A:") == " 2"


def test_an_answer_in_the_prompt_is_never_graded():
    prompt = r"Write \boxed{7}. Assistant:"
    assert grade(response_of(prompt + " I do not know", prompt), "7").reason == "no_answer"
    with pytest.raises(ValueError, match="does not start with its prompt"):
        response_of("another " + prompt, prompt)
