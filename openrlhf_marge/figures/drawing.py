"""A Plot as a PNG file. The only module that imports matplotlib, and without its global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlhf_marge.figures.plot import Bar, Line, Panel, Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's: told apart with any kind of colour vision. Blue and red first, as Fig. 3 has them.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#707070", "#000000")
MARKERS = "os^Dv*PX<"  # one more than colors, so that a color that comes again has another marker; it is dashed, too
STYLES: dict[str, dict[str, Any]] = {
    "solid": {"markersize": 4},
    "faint": {"marker": "", "linewidth": 0.8, "alpha": 0.35},
    "dashed": {"markersize": 4, "linestyle": "--", "markerfacecolor": "white"},
    "dots": {"markersize": 6, "linestyle": "none"},
    "circles": {"markersize": 6, "linestyle": "none", "markerfacecolor": "none"},
    "star": {"markersize": 14, "linestyle": "none", "marker": "*"},
}
MANY_POINTS = 40  # a line with more has no markers
WIDTH, HEIGHT, DPI = 5.0, 3.6, 200  # of a panel, inches
LEGEND_CHARACTERS, LEGEND_HANDLE, LEGEND_ROW = 64, 8, 0.2  # in a panel's width; of that for the handle; inches
BAR_WIDTH, PALE = 0.6, 0.4
LONGEST_NAMES = 45  # characters of all names below a panel's bars; more are slanted


def save(plot: Plot, path: Path) -> None:
    """Write the picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    names = {line.name for panel in plot.panels for line in panel.lines if line.name}
    across = plot.columns or len(plot.panels)
    down = -(-len(plot.panels) // across)
    columns = max(1, LEGEND_CHARACTERS * across // (LEGEND_HANDLE + max(map(len, names), default=0)))
    size = (WIDTH * across, HEIGHT * down + LEGEND_ROW * -(-len(names) // columns))
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.suptitle(plot.title, fontsize=12)
    handles: dict[str, Any] = {}
    for number, panel in enumerate(plot.panels, start=1):
        axes = figure.add_subplot(down, across, number)
        _draw(axes, panel)
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    if handles:
        style = dict(loc="outside lower center", ncols=columns, fontsize=9, frameon=False)
        for text in figure.legend(handles.values(), handles.keys(), **style).get_texts():
            text.set_parse_math(False)  # names of runs may hold dollars
    pixels, _ = FigureCanvasAgg(figure).print_to_buffer()
    shape = figure.canvas.get_width_height()
    # A chart has few colors: with a palette it is a third as large.
    Image.frombuffer("RGBA", shape, pixels).convert("RGB").quantize(256).save(path, "PNG", optimize=True)


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
    else:
        _scale_x(axes, panel)


def _draw_line(axes: Axes, line: Line) -> None:
    x, y, errors = zip(*line.points, strict=True)
    marker = MARKERS[line.color % len(MARKERS)] if len(x) <= MANY_POINTS else ""
    again = line.style == "solid" and line.color >= len(COLORS)
    named = STYLES["dashed" if again else line.style]
    style = {"marker": marker, "color": COLORS[line.color % len(COLORS)], "linewidth": 1.5} | named
    axes.errorbar(x, y, yerr=_sizes(errors), label=line.name or None, capsize=2, elinewidth=1, **style)


def _draw_bars(axes: Axes, bars: Sequence[Bar]) -> None:
    from matplotlib.colors import to_rgb

    for x, bar in enumerate(bars):
        color = to_rgb(COLORS[bar.color % len(COLORS)])
        pale = [1 - PALE * (1 - part) for part in color]
        axes.bar(x, bar.shaded.y, BAR_WIDTH, yerr=_sizes([bar.shaded.error]), color=pale, capsize=3)
        axes.bar(x, bar.solid.y, BAR_WIDTH, yerr=_sizes([bar.solid.error]), color=color, capsize=3)
        text = f"{bar.solid.y:.1f} + {bar.shaded.y - bar.solid.y:.1f}"
        behind = dict(facecolor="white", edgecolor="none", pad=0.5)
        axes.annotate(text, (x, bar.shaded.y + (bar.shaded.error or 0) + 2), ha="center", fontsize=8, bbox=behind)
    names = [bar.name for bar in bars]
    slanted = dict(rotation=20, ha="right") if len("".join(names)) > LONGEST_NAMES else {}
    axes.set_xticks(range(len(bars)), names, parse_math=False, **slanted)
    axes.margins(x=0.1)


def _scale_x(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

    if panel.whole_x:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return
    if panel.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _sizes(errors: Sequence[float | None]) -> list[float] | None:
    """Lengths of the error bars, 0 for none; None when there is not one."""
    return [error or 0.0 for error in errors] if any(errors) else None
