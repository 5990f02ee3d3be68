"""Exact numbers in every spelling, and when two of them are equal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from openrlhf_marge.grading.latex import without_thousands

TOLERANCE = Fraction(1, 10**6)  # relative, where a decimal point says that a number may be rounded
MAX_DIGITS = 200  # longer numbers are compared as text: converting them costs quadratic time
MAX_EXPONENT = 400
UNSIGNED = r"(?:\d+(?:\.\d*)?|\.\d+)"
NUMBER = re.compile(rf"([+-]?)\s*({UNSIGNED})")
REPEATING = re.compile(r"([+-]?)(\d*)\.(\d*)(?:\\bar\{(\d+)\}|(\d)\s*(?:repeating|⟦\s*repeating\s*⟧))")
GOES_ON = re.compile(r"([+-]?)(\d*)\.(\d*?)(\d{1,6}?)(\4+)\s*\\[lc]?dots")  # 0.9666..., 0.1212...
FRACTION = re.compile(rf"([+-]?)\s*\\frac\{{\s*([+-]?\s*{UNSIGNED})\s*\}}\{{\s*([+-]?\s*{UNSIGNED})\s*\}}")
SLASH = re.compile(rf"([+-]?)\s*\(?([+-]?{UNSIGNED})\)?\s*/\s*\(?([+-]?{UNSIGNED})\)?")
MIXED = re.compile(r"([+-]?)\s*(\d+)\s*\\frac\{\s*(\d+)\s*\}\{\s*(\d+)\s*\}|([+-]?)\s*(\d+)\s+(\d+)/(\d+)")
SCIENTIFIC = re.compile(rf"([+-]?)\s*(?:({UNSIGNED})\s*(?:\\cdot|x|X)\s*)?10\s*\^\s*(?:\{{\s*([+-]?\d+)\s*\}}|(\d))")
E_NOTATION = re.compile(rf"([+-]?)({UNSIGNED})[eE]([+-]?\d+)")


@dataclass(frozen=True, slots=True)
class Number:
    """A value; ``rounded`` when written with decimals other than zeros, ``percent`` when with a percent sign."""

    value: Fraction
    rounded: bool = False
    percent: bool = False


def read_number(text: str) -> Number | None:
    """The number that a cleaned answer is; None when it is none, or too long."""
    if len(text) > 2 * MAX_DIGITS:
        return None
    plain = text.strip()
    percent = plain.endswith("%")
    plain = plain.removesuffix("%").strip()
    while plain.startswith("(") and plain.endswith(")") and plain.count("(") == 1 and "," not in plain:
        plain = plain[1:-1].strip()
    if plain.startswith("{") and plain.endswith("}") and plain.count("{") == 1:
        plain = plain[1:-1].strip()
    if absolute := re.fullmatch(r"\|\s*\{?[+-]?(\d+)\}?\s*\|", plain):
        plain = absolute[1]
    value = _value(re.sub(r"(?<=[+-])\s+", "", without_thousands(plain)))
    if value is None:
        return None
    exact = any(mark in plain for mark in ("/", "\\bar", "dots", "repeating"))
    rounded = "." in plain and not exact and value.denominator > 1
    return Number(value, rounded, percent)


def _value(text: str) -> Fraction | None:
    for pattern, read in READERS:
        if (match := pattern.fullmatch(text)) and max(map(len, re.findall(r"\d+", text))) <= MAX_DIGITS:
            try:
                return read(match)
            except ZeroDivisionError:
                return None
    return None


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value


def _power(exponent: str) -> Fraction:
    if abs(int(exponent)) > MAX_EXPONENT:
        raise ZeroDivisionError  # as unreadable as a division by zero
    return Fraction(10) ** int(exponent)


def _repeating(match: re.Match) -> Fraction:
    sign, whole, fixed, bar, last = match.groups()
    block, shift = bar or last, Fraction(10) ** len(fixed)
    value = Fraction(int(whole or 0)) + Fraction(int(fixed or 0)) / shift
    return _signed(sign, value + Fraction(int(block), 10 ** len(block) - 1) / shift)


def _going_on(match: re.Match) -> Fraction:
    """The block that is seen at least twice before the dots."""
    sign, whole, fixed, block, _ = match.groups()
    value = Fraction(int(whole or 0)) + Fraction(int(fixed or 0)) / 10 ** len(fixed)
    return _signed(sign, value + Fraction(int(block), 10 ** len(block) - 1) / 10 ** len(fixed))


def _ratio(match: re.Match) -> Fraction:
    top, bottom = (Fraction(re.sub(r"\s", "", part)) for part in match.groups()[1:])
    return _signed(match[1], top / bottom)


def _mixed(match: re.Match) -> Fraction:
    sign, whole, top, bottom = (part for part in match.groups() if part is not None)
    return _signed(sign, int(whole) + Fraction(int(top), int(bottom)))


READERS = (
    (NUMBER, lambda m: _signed(m[1], Fraction(m[2]))),
    (FRACTION, _ratio),
    (SLASH, _ratio),
    (MIXED, _mixed),
    (SCIENTIFIC, lambda m: _signed(m[1], Fraction(m[2] or 1) * _power(m[3] or m[4]))),
    (E_NOTATION, lambda m: _signed(m[1], Fraction(m[2]) * _power(m[3]))),
    (REPEATING, _repeating),
    (GOES_ON, _going_on),
)


def same_number(answer: Number, gold: Number) -> bool:
    """Equal exactly, or within ``TOLERANCE`` where one was written as a decimal; 50 % is 50 and is 0.5."""
    rounded = answer.rounded or gold.rounded
    if answer.percent == gold.percent:
        return _close(answer.value, gold.value, rounded)
    return any(
        _close(a, g, rounded)
        for a in ((answer.value, answer.value / 100) if answer.percent else (answer.value,))
        for g in ((gold.value, gold.value / 100) if gold.percent else (gold.value,))
    )


def _close(a: Fraction, b: Fraction, rounded: bool) -> bool:
    return a == b or (rounded and abs(a - b) <= TOLERANCE * abs(b))
