"""Unicode's characters in LaTeX and ASCII."""

from __future__ import annotations

import re

CHARACTERS = (
    *((dash, "-") for dash in "−–—‐‑‒―﹣"),
    ("×", r"\times "), ("⋅", r"\cdot "), ("∙", r"\cdot "), ("·", r"\cdot "),
    ("÷", "/"), ("⁄", "/"), ("∕", "/"), ("≤", r"\le "), ("≥", r"\ge "),
    ("≠", r"\ne "), ("∞", r"\infty "), ("π", r"\pi "), ("∪", r"\cup "), ("∩", r"\cap "), ("∈", r"\in "),
    ("≈", r"\approx "), ("°", r"^\circ "), ("√", r"\sqrt "), ("。", "."), ("ℝ", r"\mathbb{R}"), ("∅", r"\emptyset "),
    ("∖", r"\setminus "), ("±", r"\pm "), ("…", "..."), ("∶", ":"), ("、", ","), ("θ", r"\theta "),
    *((space, " ") for space in "\xa0\u2002\u2003\u2005\u2009\u200a\u202f\u3000"),
    *((mark, "") for mark in "\u200b\u200e\u200f\u2060\u2066\u2067\u2068\u2069\u061c\ufeff"),
)  # fmt: skip
DIGITS = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F) if chr(wide) != "＄"}  # full width
FRACTIONS = re.compile("[¼½¾⅐-⅞↉]")
RAISED = re.compile("[⁰¹²³⁴-⁹⁺⁻ⁿ]+")
LOWERED = re.compile("[₀-₉]+")
RUNS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ₀₁₂₃₄₅₆₇₈₉", "0123456789+-n0123456789")
