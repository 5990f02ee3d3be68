"""The reading of LaTeX: ANTLR's faster mode, with scripts told from the tokens, against its slower one."""

import re
import time

import pytest

pytest.importorskip("latex2sympy2", reason="the symbolic part is not installed")

import latex2sympy2
from antlr4.atn.PredictionMode import PredictionMode

from openrlhf_marge.grading import parsing

SCRIPTS = re.findall(r"\S+", r"x^{2} x_{1} x^2_1 x_1^2 a_n x^y^2 x^{y_{1}^{2}}_{3} x_{n+1}^{2}+x_n 2x^{2}-8x+7")
ELSE = re.findall(r"\S+", r"a_n^2 \alpha^n_1 x^y_1 \bar{x}_1^2 x^\bar{y}_1 x^{2 x_ x^{} x_{} x^{2}^{3}")


def read(monkeypatch, text: str, mode: PredictionMode) -> object:
    monkeypatch.setattr(parsing._Parser, "mode", mode)
    latex2sympy2.set_variances({})
    return latex2sympy2.latex2sympy(text)


@pytest.mark.parametrize("text", SCRIPTS)
def test_the_faster_mode_reads_scripts_as_the_slower_one_does(monkeypatch, text):
    assert read(monkeypatch, text, PredictionMode.SLL) == read(monkeypatch, text, PredictionMode.LL)


@pytest.mark.parametrize("text", ELSE)
def test_what_the_faster_mode_cannot_read_the_slower_one_decides(monkeypatch, text):
    assert outcome(lambda: parsing._parsed(text)) == outcome(lambda: read(monkeypatch, text, PredictionMode.LL))


def outcome(call) -> object:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - latex2sympy2 raises nothing more precise
        return str(error)


def test_time_for_an_integral_is_cpu_time(monkeypatch):
    """A busy machine, on which a second of CPU takes many, has the same verdicts."""
    monkeypatch.setattr(parsing, "FINISH_SECONDS", 0.2)
    monkeypatch.setattr(parsing.sympy.Integral, "doit", lambda self: time.sleep(0.4) or self.variables[0])
    assert parsing.parse_latex(r"\int 7 v dv").name == "v"
