"""Reads units behind a value: which text is a unit, what the unit measures, and the answer without it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

# Dimension: names, as a regular expression, and how many of the dimension's own unit one of them is.
TABLE: dict[str, dict[str, str | int]] = {
    "length": {
        "mm|millimet(?:er|re)s?": "1/1000", "cm|centimet(?:er|re)s?": "1/100", "dm|decimet(?:er|re)s?": "1/10",
        "m|met(?:er|re)s?": 1, "km|kms|kilomet(?:er|re)s?": 1000, "in|inch|inches": "254/10000",
        "ft|foot|feet": "3048/10000", "yd|yds|yards?": "9144/10000", "mi|miles?": "1609344/1000",
    },
    "mass": {
        "mg|milligrams?": "1/1000", "g|grams?": 1, "kg|kgs|kilograms?|kilos?": 1000, "tons?|tonnes?": 10**6,
        "oz|ounces?": "28349523125/1000000000", "lb|lbs|pounds?": "45359237/100000",
    },
    "time": {
        "ms|milliseconds?": "1/1000", "s|sec|secs|seconds?": 1, "min|mins|minutes?": 60, "h|hr|hrs|hours?": 3600,
        "days?": 86400, "weeks?": 604800, "months?": 2629746, "years?|yrs?": 31556952,
    },
    "money": {"＄|dollars?|usd|bucks?": 1, "¢|cents?": "1/100"},
    "euro": {"€|euros?|eur": 1}, "sterling": {"£": 1}, "yuan": {"¥|yuan|rmb|元|美元": 1},
    "volume": {
        "ml|millilit(?:er|re)s?": "1/1000", "cl|centilit(?:er|re)s?": "1/100", "l|lit(?:er|re)s?": 1,
        "gal|gallons?": "3785411784/1000000000", "quarts?|qt": "946352946/1000000000",
        "pints?": "473176473/1000000000",
    },
    "angle": {"deg|degrees?": 1, "rad|radians?": "1000000000/17453293"},
    "speed": {"mph": "1609344/3600000"},
}  # fmt: skip
ONE_LETTER = "mgshLlNJWVAKCFt"  # behind a number; a letter of a formula is a variable
KNOWN = [(re.compile(names, re.IGNORECASE), dimension, Fraction(factor))
         for dimension, units in TABLE.items() for names, factor in units.items()]  # fmt: skip
UNIT_WORDS = (
    "dollars?|cents?|euros?|percent|degrees?|radians?|units?|square|sq|cubic|inch|inches|feet|foot|ft|yards?|miles?|mm|cm|dm|km|"
    "kg|mg|ml|oz|(?:milli|centi|deci|kilo)?(?:met(?:er|re)|gram|lit(?:er|re))s?|ounces?|pounds?|lbs?|tons?|gallons?|"
    "quarts?|pints?|(?:milli)?seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?|mph|km/h|m/s|"
    "people|students|yuan|apples?|ways?|times?|points?|each|per"
)
END = r"(?=\s*(?:$|[,;)\]]|\\\}|\\lor(?![A-Za-z])))"  # of an item
POWER = r"(?:\^\s*(?:\{\s*-?\d\s*\}|\d))?"
RUN = rf"(?:(?:{UNIT_WORDS})(?![A-Za-z])\.?\s*{POWER}\s*/?\s*)+"
# A noun in plain letters, where no other word says more about the number.
NOUN = (
    r"(?<=\d)\s+(?!(?:more|less|fewer|plus|minus|over|than|repeating|squared|cubed|factorial|choose|times|only|modulo|"
    r"(?:ten|hundred|thousand|seven|eigh|nin)ths|halves|theta|alpha|beta|gamma|lambda)\b)[a-z]{4,}(?:\s[a-z]{4,})?"
)
OTHER_SCRIPT = "[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]+"
UNITS = re.compile(rf"(?<=[\d}})%])\s*{RUN}{END}|{NOUN}{END}", re.IGNORECASE)
# Text that adds another value, or changes the one before it; "or" and "and" are commas by then.
CHANGES = (
    r"⟦(?:[^⟦⟧]*(?:,|\b(?:hours?|feet|foot|ft|minutes?|pounds?|dollars?)\s)|\s*(?:-|(?:to|times|over|plus|minus)\s))\s*"
    r"(?:＄?\d(?!\d*\s(?:decimal|significant))|(?:a\s+)?half\b|(?:one|two|three|four|five|six|seven|eight|nine|ten|more|less|fewer)\b)|"
    r"⟦\s*(?:squared|cubed|factorial|(?:ten|hundred|thousand|seven|eigh|nin)ths|halves|k|bn|mil|lakhs?|crores?)\s*⟧"
)
TEXT = re.compile(rf"(?<=[^\s,;⟧])\s*(?:(?!{CHANGES})⟦[^⟦⟧]*⟧|{OTHER_SCRIPT})\s*{POWER}{END}")
TEXT_AT_START = re.compile(
    r"(?:^(?!\s*⟦\s*(?-i:[A-J])\s*:\s*⟧[^,;]*$)|(?<=[,;]))\s*"  # not "B: 5", a choice
    r"⟦\s*(?:approximately|about|(?:the )?(?:final )?answer(?: is|:)?|[^⟦⟧]*[:=])\s*⟧\s*(?=[-\d\\])",
    re.IGNORECASE,
)
CURRENCY = re.compile("[＄€£¥¢]")
QUANTITY = re.compile(
    rf"\s*(?:(?P<value>[^⟦⟧]*?[^\s⟦⟧])\s*(?:⟦(?P<text>[^⟦⟧]+)⟧|(?<=[\d}})])\s*(?P<words>{RUN}|{OTHER_SCRIPT}|[€£¥¢])|(?P<noun>{NOUN}))\s*"
    rf"(?P<power>{POWER})|(?P<sign>[-+]?)\s*(?P<currency>[＄€£¥])\s*(?P<money>[^⟦⟧]+)|"
    r"⟦(?P<name>[^⟦⟧]+)[:=]\s*⟧\s*(?P<named>[^⟦⟧]+))\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Unit:
    """What is measured, with its power, above and below the line; ``factor`` of the dimension's own unit."""

    above: tuple[tuple[str, int], ...]
    below: tuple[tuple[str, int], ...]
    factor: Fraction

    def contradicts(self, other: Unit) -> bool:
        """Another dimension; "5 dollars" leaves out what "5 dollars per hour" says, which is no contradiction."""
        return self.above != other.above or (self.below != other.below and bool(self.below) and bool(other.below))


def without_units(text: str) -> str:
    """Text behind each value is a unit or a remark; an answer that is all text stays."""
    text = TEXT_AT_START.sub("", CURRENCY.sub("", text).strip())
    while (shorter := TEXT.sub("", text)) != text:
        text = shorter
    return UNITS.sub("", text)


def quantity(text: str) -> tuple[str, str] | None:
    """The value and the label, unit or noun, of one item of an answer whose units are still there."""
    match = QUANTITY.fullmatch(text)
    if match is None:
        return None
    if match["currency"]:
        value = match["sign"] + match["money"]
        inner = quantity(value)  # "$3.50 each"
        return (inner[0] if inner else value, match["currency"])
    if match["name"]:
        return match["named"], match["name"].strip().casefold()
    label = match["text"] or match["words"] or match["noun"].strip()
    return match["value"], (label + (match["power"] or "")).strip(" .~").casefold()


def read_unit(label: str) -> Unit | None:
    """The unit that a label is; None for a noun."""
    text = re.sub(r"\bsq(?:uare|\.)?\s*([a-z]+)\.?", r"\1^2", re.sub(r"\bcubic\s+([a-z]+)", r"\1^3", label))
    text = re.sub(r"[{}\s]*\^[{}\s]*(-?\d)\}?", r"^\1", text).replace("²", "^2").replace("³", "^3")
    parts = re.split(r"\s*(?:/|\bper\b)\s*", text, maxsplit=1)
    sides, factor = [], Fraction(1)
    for part, sign in zip(parts, (1, -1), strict=False):
        side = []
        for word in re.split(r"\s+|\\cdot|·|/|\\", part.strip()):
            name, _, power = word.strip(" .").partition("^")
            known = next(((d, f) for names, d, f in KNOWN if names.fullmatch(name)), None)
            if known is None:
                return None
            exponent = int(power or 1)
            side.append((known[0], exponent))
            factor *= known[1] ** (sign * exponent)
        sides.append(tuple(sorted(side)))
    above, below = (*sides, ())[:2]
    if above == (("speed", 1),):
        above, below = (("length", 1),), (("time", 1),)
    if above == (("length", 3),):  # a litre is a cubic decimetre
        above, factor = (("volume", 1),), factor * 1000
    return Unit(above, below, factor)
