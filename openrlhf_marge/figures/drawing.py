"""A Plot as a PNG file. The only module that imports matplotlib, and without its global state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlhf_marge.figures.plot import Bar, Line, Panel, Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's: told apart with any kind of colour vision. Blue and red first, as Fig. 3 has them.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv*P"
STYLES: dict[str, dict[str, Any]] = {
    "solid": {"markersize": 4},
    "dashed": {"markersize": 4, "linestyle": "--", "markerfacecolor": "white"},
    "dots": {"markersize": 6, "linestyle": "none"},
    "circles": {"markersize": 6, "linestyle": "none", "markerfacecolor": "none"},
    "star": {"markersize": 14, "linestyle": "none", "marker": "*"},
}
MANY_POINTS = 40  # a line with more has no markers
WIDTH, HEIGHT, DPI = 5.0, 3.8, 200  # of a panel, inches
BAR_WIDTH = 0.6


def save(plot: Plot, path: Path) -> None:
    """Write the picture; ImportError without matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH * len(plot.panels), HEIGHT), dpi=DPI, layout="constrained")
    figure.suptitle(plot.title, fontsize=12)
    for axes, panel in zip(figure.subplots(1, len(plot.panels), squeeze=False)[0], plot.panels, strict=True):
        _draw(axes, panel)
    figure.savefig(path, metadata={"Software": None})


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, fontsize=11)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.set_axisbelow(True)
    axes.grid(axis="y" if panel.bars else "both", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if panel.y_range:
        axes.set_ylim(*panel.y_range)
    for line in panel.lines:
        _draw_line(axes, line)
    if panel.bars:
        _draw_bars(axes, panel.bars)
    elif any(line.name for line in panel.lines):
        axes.legend(fontsize=8, framealpha=0.8)
    _scale_x(axes, panel)


def _draw_line(axes: Axes, line: Line) -> None:
    x, y, errors = zip(*line.points, strict=True)
    marker = MARKERS[line.color % len(MARKERS)] if len(x) <= MANY_POINTS else ""
    style = {"marker": marker, "color": COLORS[line.color % len(COLORS)]} | STYLES[line.style]
    axes.errorbar(
        x, y, yerr=_sizes(errors), label=line.name or None, capsize=2, elinewidth=1, linewidth=1.5, **style
    )


def _draw_bars(axes: Axes, bars: list[Bar]) -> None:
    for x, bar in enumerate(bars):
        color = COLORS[bar.color % len(COLORS)]
        axes.bar(x, bar.shaded.y, BAR_WIDTH, yerr=_sizes([bar.shaded.error]), color=color, alpha=0.35, capsize=3)
        axes.bar(x, bar.solid.y, BAR_WIDTH, yerr=_sizes([bar.solid.error]), color=color, capsize=3)
        gain = bar.shaded.y - bar.solid.y
        axes.annotate(f"{bar.solid.y:.1f}", (x, bar.solid.y / 2), ha="center", va="center", color="white")
        axes.annotate(f"+{gain:.1f}", (x, bar.solid.y + gain / 2), ha="center", va="center")
    axes.set_xticks(range(len(bars)), [bar.name for bar in bars])
    axes.margins(x=0.1)


def _scale_x(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    if panel.log_x:
        axes.set_xscale("log")
    elif panel.whole_x:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    elif not panel.bars:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _sizes(errors: Any) -> list[float] | None:
    """Lengths of the error bars, 0 for none; None when there is not one."""
    return [error or 0.0 for error in errors] if any(errors) else None
