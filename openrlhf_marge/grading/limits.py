"""Bounds on what goes to the symbolic part: known commands, limited sizes. Everything else is Unparsable."""

from __future__ import annotations

import re

from openrlhf_marge.grading.errors import Unparsable
from openrlhf_marge.grading.latex import FUNCTIONS

MAX_CHARS = 400
MAX_DEPTH = 24
MAX_DIGITS = 40  # of one number
MAX_LETTERS = 60  # symbols are single letters
ALLOWED = re.compile(r"[A-Za-z0-9\s+\-*/^_=<>().,|!{}\[\]\\]*")
COMMAND = re.compile(r"\\([A-Za-z]+|.)")
COMMANDS = FUNCTIONS | frozenset(
    re.findall(
        r"\w+",
        "frac sqrt cdot pi infty le ge ne binom pmod bmod mod lfloor rfloor lceil rceil sum prod int lim partial to "
        "bar vec hat tilde ell alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu "
        "nu xi rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega",
    )
)
SIDE_BY_SIDE = re.compile(r"(?<![_^\d])(?<![_^]\{)\d+\s+\d")  # 3 4 is no product
BIG_BINOMIAL = re.compile(r"\\binom\s*\{?\s*\{?\d{6}")
FUNCTION = re.compile(r"(?<![A-Za-z\\_])[fg]\s*\(")  # an unknown function is no factor
E_NOTATION = re.compile(r"\d[eE][+-]?\d{4,}")


def check(text: str) -> None:
    """Unparsable saying which bound a cleaned expression exceeds."""
    if len(text) > MAX_CHARS:
        raise Unparsable(f"{len(text)} characters, at most {MAX_CHARS}")
    if not ALLOWED.fullmatch(text):
        raise Unparsable(f"a character other than ASCII mathematics in {text[:80]!r}")
    if unknown := next((c for c in COMMAND.findall(text) if c not in COMMANDS), None):
        raise Unparsable(f"the command \\{unknown}")
    if any(len(digits) > MAX_DIGITS for digits in re.findall(r"\d+", text)) or E_NOTATION.search(text):
        raise Unparsable(f"a number of more than {MAX_DIGITS} digits")
    if BIG_BINOMIAL.search(text):
        raise Unparsable(f"a binomial of more than 100000 in {text[:80]!r}")
    if FUNCTION.search(text):
        raise Unparsable(f"an unknown function in {text[:80]!r}")
    if SIDE_BY_SIDE.search(text):
        raise Unparsable(f"two numbers without a sign between them in {text[:80]!r}")
    depth = deepest = 0
    for char in text:
        depth += (char in "({[") - (char in ")}]")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise Unparsable(f"{deepest} brackets within each other, at most {MAX_DEPTH}")
    if len(re.findall(r"[A-Za-z]", COMMAND.sub(" ", text))) > MAX_LETTERS:
        raise Unparsable(f"more than {MAX_LETTERS} letters")
