r"""LaTeX -> sympy's unevaluated tree by latex2sympy2, prepared so that its grammar reads an answer as it is meant."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
import threading
from functools import lru_cache

import sympy
from antlr4 import Token
from antlr4.atn.ParserATNSimulator import ParserATNSimulator
from antlr4.atn.PredictionMode import PredictionMode

from openrlhf_marge.grading.errors import Unparsable

# It imports its grammar as "gen", which may be the name of a file of the user's, too.
_folder = os.path.dirname(importlib.util.find_spec("latex2sympy2").origin)
sys.path.insert(0, _folder)
import latex2sympy2  # noqa: E402

sys.path.remove(_folder)

NO_SYMBOL = re.compile(r"\\[A-Za-z]+|_(?:\w|\{\w+\})|([EIT])(?:_(\w)|_\{(\w+)\})?(?!(?<=\d[EI])[+-]?\d)")
MIXED = re.compile(r"(?<![\w.}^_])(\d+)\s*(\\frac\{\d+\}\{\d+\})")
UNFINISHED = (sympy.Derivative, sympy.Integral, sympy.Limit)
# latex2sympy2 would take x(x + 1) for a function x.
BEFORE_BRACKET = re.compile(
    r"((?<![A-Za-z\\_])[A-Za-z](?:_\w|_\{\w+\})?|\\(?:pi|alpha|beta|theta|lambda|mu|phi|omega)|(?<![_^\d])\d+)\s*(?=\()"
)
FUNCTION = re.compile(
    r"\\(?:(?:arc)?(?:sin|cos|tan)h?|cot|sec|csc|ln|log(?:_\w|_\{[^{}]*\})?|exp)(?:\^(?:\w|\{[^{}]*\}))?\s*\("
)
FINISH_SECONDS = 2.0  # of CPU, for sympy to work out a derivative, an integral or a limit
COEFFICIENT = re.compile(r"(?<![\w.})^])(\d+)/(\d+)(?=\s*(?:[A-Za-z(]|\\(?!cdot)))")  # 4/3 \pi is no 4/(3 \pi)


@lru_cache(maxsize=512)
def parse_latex(text: str) -> sympy.Basic:
    """Unparsable when latex2sympy2 cannot read it."""
    text = re.sub(r"\\log(?![A-Za-z_]|\s*_)", r"\\ln", text).replace("\\lg", "\\log_{10}")
    text = NO_SYMBOL.sub(lambda m: f"N_{{{ord(m[1])}{m[2] or m[3] or ''}}}" if m[1] else m[0], text)  # others for it
    text = MIXED.sub(r"(\1+\2)", text)
    text = COEFFICIENT.sub(r"\\frac{\1}{\2}", text)
    text = BEFORE_BRACKET.sub(lambda m: m[1] + r"\cdot ", text)
    text = _braced_functions(text)
    try:
        tree = _parsed(text)
        if not isinstance(tree, sympy.Expr) or getattr(tree, "is_Matrix", False):
            raise Unparsable(f"{text[:80]!r} is a {type(tree).__name__}")
        return _finished(tree) if tree.has(*UNFINISHED) else tree
    except Unparsable:
        raise
    except Exception as e:
        raise Unparsable(f"{text[:80]!r}: {type(e).__name__}") from e


PSParser = latex2sympy2.PSParser
# Which of ^a_b, _b^a, _b, ^a and nothing stands behind a letter: the alternatives 1 to 5 of this decision.
SCRIPTS = [state.decision for state in PSParser.atn.decisionToState if state.ruleIndex == PSParser.RULE_atom_expr][-1]
BOTH, ALONE, NO_SCRIPT = {PSParser.CARET: 1, PSParser.UNDERSCORE: 2}, {PSParser.CARET: 4, PSParser.UNDERSCORE: 3}, 5
ONE_TOKEN = {PSParser.NUMBER, PSParser.LETTER_NO_E, PSParser.GREEK_CMD}


class _Prediction(ParserATNSimulator):
    """ANTLR's choice among alternatives; in the faster mode it takes ^a for ^a_b, so that half of all powers fail."""

    def adaptivePredict(self, tokens: object, decision: int, context: object) -> int:
        of_scripts = decision == SCRIPTS and self.predictionMode is PredictionMode.SLL
        return (of_scripts and _scripts(tokens)) or super().adaptivePredict(tokens, decision, context)


def _scripts(tokens: object) -> int | None:
    """The alternative of ``SCRIPTS`` by the tokens alone; None where ANTLR has to tell what the first script is."""
    mark, at = tokens.LA(1), 2
    if mark not in BOTH:
        return NO_SCRIPT
    if tokens.LA(at) not in {*ONE_TOKEN, PSParser.L_BRACE}:
        return None
    depth = 0
    while (token := tokens.LA(at)) != Token.EOF:
        depth += (token == PSParser.L_BRACE) - (token == PSParser.R_BRACE)
        at += 1
        if depth <= 0:
            break
    return BOTH[mark] if tokens.LA(at) in BOTH.keys() - {mark} else ALONE[mark]


class _Parser(PSParser):
    """Its parser in ANTLR's faster mode, which fails or gives the same tree in half the time."""

    mode = PredictionMode.SLL

    def __init__(self, tokens: object) -> None:
        super().__init__(tokens)
        self._interp = _Prediction(self, self.atn, self.decisionsToDFA, self.sharedContextCache)
        self._interp.predictionMode = self.mode

    def math(self) -> object:
        """All of the text: the grammar itself would stop where it no longer understands, and take what it has."""
        tree = super().math()
        if self._input.LA(1) != Token.EOF:
            raise Unparsable("an expression that ends before the text does")
        return tree


latex2sympy2.PSParser = _Parser


def _parsed(text: str) -> object:
    try:
        for _Parser.mode in (PredictionMode.SLL, PredictionMode.LL):
            latex2sympy2.set_variances({})  # it remembers assignments, and a bare dx leaves its table broken
            try:
                return latex2sympy2.latex2sympy(text)
            except Exception:
                if _Parser.mode is PredictionMode.LL:
                    raise
    finally:
        _Parser.mode = PredictionMode.SLL


def _braced_functions(text: str) -> str:
    r"""``\sin(x)`` as ``{\sin{x}}``: its grammar tries both readings of every bracket, 3 s for eight nested ones."""
    start = 0
    while match := FUNCTION.search(text, start):
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        if depth:
            return text
        inner = text[match.end() : end - 1]
        text = f"{text[: match.start()]}{{{match[0][:-1].strip()}{{{inner}}}}}{text[end:]}"
        start = match.start() + 2
    return text


def _finished(tree: sympy.Expr) -> sympy.Expr:
    """Derivatives, integrals and limits worked out, within a time of its own where this is the main thread."""
    if any(not d.expr.has(*d.variables) for d in tree.atoms(sympy.Derivative)):
        raise Unparsable("a derivative of an unknown function")  # dy/dx is not 0
    if threading.current_thread() is not threading.main_thread():
        return tree.doit()
    before = signal.signal(signal.SIGVTALRM, _too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, FINISH_SECONDS)
    try:
        return tree.doit()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _too_long(_signal: int, _frame: object) -> None:
    raise Unparsable(f"sympy works longer than {FINISH_SECONDS:g} s of CPU on it")
