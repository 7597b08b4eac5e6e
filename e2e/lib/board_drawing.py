"""Draws one dashboard with matplotlib, in the places and colours that Grafana gives its panels."""

import datetime
import math
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "candlepower"  # the same data makes the same file

import matplotlib.dates as dates
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Wedge
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

PAGE, CARD, TEXT, DIM, GRID = "#111217", "#181b1f", "#d8d9da", "#8e8e8e", "#2c3235"
COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#b877d9", "#8ab8ff", "#ff7383", "#37872d", "#fade2a", "#a352cc"]
GOOD, BAD = "#73bf69", "#f2495c"
COLUMN, ROW = 0.7, 0.4  # inches
LEGEND_ROWS = 4

Panel = dict[str, Any]


def draw(board: Panel, picture: Path, series_of: Callable[[Panel], list[Any]]) -> None:
    """Writes the whole board into one picture."""
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) + 2
    figure = plt.figure(figsize=(24 * COLUMN, height * ROW), facecolor=PAGE)
    figure.text(0.008, 1 - 1 / height, board["title"], color=TEXT, size=15, weight="bold", va="center")
    for panel in board["panels"]:
        place = panel["gridPos"]
        left, top = place["x"] / 24, 1 - (place["y"] + 2) / height
        size = (place["w"] / 24, place["h"] / height)
        if panel["type"] == "row":
            figure.text(left + 0.008, top - size[1] / 2, panel["title"], color=TEXT, size=11, weight="bold", va="center")
        else:
            draw_panel(figure, panel, (left, top - size[1]), size, series_of(panel))
    # Without the date, the same data makes the same file.
    figure.savefig(picture, dpi=80, facecolor=PAGE, metadata={"Date": None} if picture.suffix == ".svg" else None)
    plt.close(figure)


def draw_panel(figure: Figure, panel: Panel, corner: tuple[float, float], size: tuple[float, float], series: list[Any]) -> None:
    wide, high = figure.get_size_inches()
    gap = (0.05 / wide, 0.05 / high)
    card = FancyBboxPatch(
        (corner[0] + gap[0], corner[1] + gap[1]), size[0] - 2 * gap[0], size[1] - 2 * gap[1],
        boxstyle="square,pad=0", transform=figure.transFigure, facecolor=CARD, edgecolor=GRID, linewidth=0.8, zorder=-1,
    )  # fmt: skip
    figure.add_artist(card)
    figure.text(corner[0] + 0.12 / wide, corner[1] + size[1] - 0.2 / high, panel["title"], color=TEXT, size=9, weight="bold", va="center")
    margin = (0.75, 0.25, 0.42, 0.45)  # left, right, bottom, top; inches
    if panel["type"] == "timeseries":
        margin = (0.75, 0.25, 0.42 + 0.17 * min(LEGEND_ROWS, max(1, legend_rows(series, size[0] * wide))), 0.45)
    elif panel["type"] in ("stat", "gauge", "piechart"):
        margin = (0.15, 0.15, 0.12, 0.4)
    axes = figure.add_axes(
        (corner[0] + margin[0] / wide, corner[1] + margin[2] / high,
         size[0] - (margin[0] + margin[1]) / wide, size[1] - (margin[2] + margin[3]) / high),
        facecolor=CARD,
    )  # fmt: skip
    if not series:
        axes.axis("off")
        axes.text(0.5, 0.5, "No data", color=DIM, size=12, ha="center", va="center", transform=axes.transAxes)
        return
    painters = {"timeseries": lines, "stat": numbers, "gauge": gauges, "piechart": pie, "heatmap": heatmap}
    painters[panel["type"]](axes, panel, series)


def legend_rows(series: list[Any], wide: float) -> int:
    longest = max((len(one.name) for one in series), default=1)
    return math.ceil(len(series) / legend_columns(longest, wide))


def legend_columns(longest: int, wide: float) -> int:
    return max(1, int(wide / (longest * 0.075 + 0.45)))


def lines(axes: Axes, panel: Panel, series: list[Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    if stacked:  # the largest first, so that the legend names what can be seen
        series = sorted(series, key=lambda one: -sum(value for value in one.values if value == value))
    every = sorted({at for one in series for at in one.times})
    when = [datetime.datetime.fromtimestamp(at, tz=datetime.UTC) for at in every]
    rows = np.array([[dict(zip(one.times, one.values, strict=True)).get(at, np.nan) for at in every] for one in series])
    colours = [COLOURS[index % len(COLOURS)] for index in range(len(series))]
    if stacked:
        axes.stackplot(when, np.nan_to_num(rows), colors=colours, alpha=0.5, labels=[one.name for one in series])
    else:
        for one, row, colour in zip(series, rows, colours, strict=True):
            axes.plot(when, row, color=colour, linewidth=1.3, label=one.name)
            axes.fill_between(when, row, color=colour, alpha=0.07)
    limit = threshold(panel)
    if limit is not None and defaults["custom"]["thresholdsStyle"]["mode"] == "line":
        axes.axhline(limit, color=BAD, linewidth=1, linestyle="--")
    top = defaults.get("max") or max(np.nanmax(np.nansum(rows, axis=0) if stacked else rows), limit or 0) * 1.08
    axes.set_ylim(0, top if top > 0 else 1)
    decorate(axes, defaults["unit"])
    wide = axes.get_position().width * axes.figure.get_size_inches()[0] + 1
    shown = series[: LEGEND_ROWS * legend_columns(max(len(one.name) for one in series), wide)]
    handles, names = axes.get_legend_handles_labels()
    axes.legend(
        handles[: len(shown)], names[: len(shown)], loc="upper left", bbox_to_anchor=(-0.02, -0.13), frameon=False,
        fontsize=7.5, labelcolor=TEXT, ncols=legend_columns(max(len(one.name) for one in series), wide),
        borderaxespad=0, handlelength=1.2, columnspacing=1.2, labelspacing=0.3,
    )  # fmt: skip


def decorate(axes: Axes, unit: str) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text_of(value, unit)))
    top = axes.get_ylim()[1]
    # Steps that are round in the unit that is shown: MiB, not millions of bytes.
    factor = 1024.0 ** int(math.log(max(top, 1), 1024)) if unit == "bytes" else 1.0
    axes.yaxis.set_major_locator(FixedLocator(MaxNLocator(5).tick_values(0, top / factor) * factor))
    axes.set_ylim(0, top)
    clock(axes)
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=GRID, linewidth=0.6)


def clock(axes: Axes) -> None:
    axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=7))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    axes.tick_params(colors=DIM, labelsize=7.5, length=0)
    axes.margins(x=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def numbers(axes: Axes, panel: Panel, series: list[Any]) -> None:
    axes.axis("off")
    shown = series[:6]
    for index, one in enumerate(shown):
        x = (index + 0.5) / len(shown)
        text = text_of(one.last, panel["fieldConfig"]["defaults"]["unit"])
        size = min(26, 26 * 3 / max(3, len(shown)))
        axes.text(x, 0.58, text, color=colour_of(panel, one.last), size=size, ha="center", va="center", transform=axes.transAxes)
        axes.text(x, 0.22, wrapped(one.name, 44 // len(shown)), color=DIM, size=8, ha="center", va="center", transform=axes.transAxes)


def gauges(axes: Axes, panel: Panel, series: list[Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    axes.axis("off")
    axes.set_aspect("equal")
    shown = series[:3]
    axes.set_xlim(-1.2, 2.6 * len(shown) - 1.4)
    axes.set_ylim(-0.75, 1.1)
    least, most = defaults["min"], defaults["max"]
    limit = threshold(panel)
    for index, one in enumerate(shown):
        middle = (index * 2.6, 0.0)
        share = min(1.0, max(0.0, (one.last - least) / (most - least)))
        axes.add_patch(Wedge(middle, 1.0, 0, 180, width=0.28, facecolor=GRID))
        axes.add_patch(Wedge(middle, 1.0, 180 * (1 - share), 180, width=0.28, facecolor=colour_of(panel, one.last)))
        if limit is not None:
            angle = math.pi * (1 - (limit - least) / (most - least))
            axes.plot(
                [middle[0] + radius * math.cos(angle) for radius in (0.68, 1.06)],
                [radius * math.sin(angle) for radius in (0.68, 1.06)], color=BAD, linewidth=2,
            )  # fmt: skip
        axes.text(*middle, text_of(one.last, defaults["unit"]), color=colour_of(panel, one.last), size=15, ha="center", va="bottom")
        axes.text(middle[0], -0.3, wrapped(one.name, 28), color=DIM, size=8, ha="center", va="center")


def pie(axes: Axes, panel: Panel, series: list[Any]) -> None:
    del panel
    slices = sorted((one for one in series if one.last > 0), key=lambda one: -one.last)
    axes.axis("off")
    if not slices:
        axes.text(0.5, 0.5, "None in this time", color=DIM, size=11, ha="center", va="center", transform=axes.transAxes)
        return
    total = sum(one.last for one in slices)
    colours = [COLOURS[index % len(COLOURS)] for index in range(len(slices))]
    wedges, *_ = axes.pie([one.last for one in slices], colors=colours, startangle=90, counterclock=False, wedgeprops={"edgecolor": CARD})
    names = [f"{one.name}  {one.last:.0f}  ({one.last / total:.0%})" for one in slices]
    axes.set_anchor("W")
    axes.legend(wedges, names, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8, labelcolor=TEXT)


def heatmap(axes: Axes, panel: Panel, series: list[Any]) -> None:
    def edge(one: Any) -> float:
        return float(one.labels["le"].replace("+Inf", "inf"))

    ordered = sorted(series, key=edge)
    every = sorted({at for one in ordered for at in one.times})
    rows = np.array([[dict(zip(one.times, one.values, strict=True)).get(at, np.nan) for at in every] for one in ordered])
    cells = np.clip(np.diff(rows, axis=0, prepend=0), 0, None)
    used = np.flatnonzero(np.nansum(cells, axis=1) > 1e-9)
    if not used.size:
        used = np.array([0, len(ordered) - 1])
    low, high = max(0, used[0] - 1), min(len(ordered), used[-1] + 2)
    cells = np.where(cells[low:high] > 1e-9, cells[low:high], np.nan)
    when = dates.date2num([datetime.datetime.fromtimestamp(at, tz=datetime.UTC) for at in every])
    step = when[1] - when[0] if len(when) > 1 else 1 / 1440
    sides = np.append(when, when[-1] + step)
    mesh = axes.pcolormesh(sides, np.arange(high - low + 1), cells, cmap="plasma")
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axes.set_yticks(np.arange(1, high - low + 1), [text_of(edge(one), unit) for one in ordered[low:high]])
    axes.xaxis_date()
    clock(axes)
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.01, fraction=0.03)
    bar.ax.tick_params(colors=DIM, labelsize=7, length=0)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.set_label("requests/s", color=DIM, size=7.5)


def threshold(panel: Panel) -> float | None:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return float(steps[1]["value"]) if len(steps) > 1 else None


def colour_of(panel: Panel, value: float) -> str:
    colour = "green"
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return BAD if colour == "red" else GOOD


def wrapped(text: str, columns: int) -> str:
    return "\n".join(textwrap.wrap(text, max(10, columns)))


def text_of(value: float, unit: str) -> str:
    """A value with Grafana's unit, for people."""
    if math.isinf(value):
        return "+Inf"
    if unit == "s":
        return seconds(value)
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit in ("bytes", "Bps"):
        ends, base = (["B", "KiB", "MiB", "GiB", "TiB"], 1024.0) if unit == "bytes" else (["B/s", "kB/s", "MB/s", "GB/s"], 1000.0)
        return scaled(value, ends, base)
    plain = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    end = {"reqps": " req/s", "ops": "/s", "celsius": " °C", "watt": " W"}.get(unit, "")
    return plain + (f" {unit.removeprefix('suffix: ')}" if unit.startswith("suffix:") else end)


def seconds(value: float) -> str:
    if value == 0:
        return "0 s"
    for factor, end in [(1e-6, "µs"), (1e-3, "ms"), (1.0, "s"), (60.0, "min")]:
        if abs(value) < factor * 1000 and (end != "s" or abs(value) < 120):
            return f"{value / factor:.3g} {end}"
    return f"{value / 3600:.3g} h"


def scaled(value: float, ends: list[str], base: float) -> str:
    for end in ends[:-1]:
        if abs(value) < base:
            return f"{value:.3g} {end}"
        value /= base
    return f"{value:.3g} {ends[-1]}"
