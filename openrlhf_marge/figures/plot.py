"""A figure as data, before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

CsvCell = str | int | float | None
Style = Literal["solid", "faint", "dashed", "dots", "circles", "star"]  # circles: not filled


class Missing(ValueError):
    """A run lacks what a figure needs; the message says what that is and how to get it."""


class Point(NamedTuple):
    """``error`` is the length of the bar on either side of y, a standard error where the axis names nothing else."""

    x: float
    y: float
    error: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """Points in order of x; those of one run share a ``color``, which is counted from 0."""

    name: str
    points: Sequence[Point]
    color: int
    style: Style = "solid"


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar up to ``solid`` with a shaded one behind it up to ``shaded``; their x is not used."""

    name: str
    solid: Point
    shaded: Point
    color: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Axes with lines or bars."""

    x_label: str
    y_label: str
    title: str = ""
    lines: Sequence[Line] = ()
    bars: Sequence[Bar] = ()
    y_range: tuple[float, float] | None = None
    log_x: bool = False
    whole_x: bool = False  # whole numbers on the x axis: steps, state indices


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The numbers behind a figure; a cell of None is empty in the CSV file."""

    header: Sequence[str]
    rows: Sequence[Sequence[CsvCell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Panels under one title, in rows of so many ``columns``; None: all side by side."""

    title: str
    panels: Sequence[Panel]
    table: CsvTable
    columns: int | None = None
