"""Units and remarks behind a value, which a verdict does not look at."""

from __future__ import annotations

import re

UNIT_WORDS = (
    "dollars?|cents?|percent|degrees?|radians?|units?|square|cubic|inch|inches|feet|foot|ft|yards?|miles?|meters?|metres?|"
    "cm|mm|km|kg|grams?|ounces?|pounds?|lbs?|liters?|litres?|gallons?|seconds?|sec|minutes?|min|hours?|hrs?|days?|weeks?|"
    "months?|years?|mph|km/h|m/s|people|students|yuan|apples?|ways?|times?|points?|each|per"
)
UNITS = re.compile(rf"(?<=[\d}})%])\s*(?:(?:{UNIT_WORDS})\b\.?\s*(?:\^\{{?\d\}}?)?/?\s*)+$", re.IGNORECASE)
TEXT_AT_END = re.compile(r"(?<=[^\s,;])\s*⟦[^⟦⟧]*⟧\s*(?:\^\s*\{?\d\}?)?\s*$")
TEXT_AT_START = re.compile(
    r"^⟦\s*(?:approximately|about|(?:the )?(?:final )?answer(?: is|:)?)\s*⟧\s*(?=[-\d])", re.IGNORECASE
)
MULTIPLE = re.compile("dozen|hundred|thousand|million|billion|trillion", re.IGNORECASE)  # no units
UNICODE_UNIT = re.compile(r"(?<=\d)\s*[ck]?m[²³]")


def drop_units(text: str) -> str:
    """Text behind a value is a unit or a remark; an answer that is all text stays."""
    text = TEXT_AT_START.sub("", text.strip())
    while (match := TEXT_AT_END.search(text)) and not MULTIPLE.search(match[0]):
        text = text[: match.start()]
    return UNITS.sub("", text)
