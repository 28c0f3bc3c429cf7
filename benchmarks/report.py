"""How the results are shown: tables for the terminal, a plot, a file."""

import json
import os
import platform
from bisect import bisect
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .results import Measurement, Results, Shape
from .servers import JACKFIELD
from .side_by_side import Comparison

out: Final = Console(highlight=False)

#: Of a core: a load generator that takes more may be what is measured.
_MOST_LOAD: Final = 0.8
_OURS: Final = "#1f6f8b"
_THEIRS: Final = "#b8c4cc"

#: Heading, figure and how that is written.
_Column = tuple[str, Callable[[Measurement], float], Callable[[float], str]]


def _columns(unit: str, *, redis: bool) -> list[_Column]:
    of_redis: _Column = ("Redis\nµs", lambda one: one.redis_each * 1e6, "{:.1f}".format)
    return [
        (f"{unit}/\nCPU s", lambda one: one.per_cpu_second, "{:,.0f}".format),
        (f"{unit}/\nwall s", lambda one: one.per_second, "{:,.0f}".format),
        ("p50\nms", lambda one: one.p50 * 1e3, three_digits),
        ("p99\nms", lambda one: one.p99 * 1e3, three_digits),
        ("MB", lambda one: one.memory / 1e6, "{:.0f}".format),
        *([of_redis] if redis else []),
        ("load\nCPU", lambda one: one.load_share, "{:.0%}".format),
    ]


def three_digits(value: float) -> str:
    """A number with three digits, if there are not more before the point: the rest is noise."""
    return f"{value:,.{2 - bisect((10, 100), value)}f}"


def plain_table(title: str, caption: str | None = None) -> Table:
    """A table without a column, as all of these benchmarks have them."""
    return Table(
        box=SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
        collapse_padding=True,
        pad_edge=False,
    )


def mark(*, met: bool) -> str:
    """What stands behind what was wanted."""
    return "[green]✓[/green]" if met else "[red]✗[/red]"


def print_tables(comparison: Comparison, results: Results) -> None:
    """Print what was measured, a table for each shape, and warn of what spoils it."""
    for shape in comparison.servers:
        if results.servers(shape):
            out.print(_table(comparison, results, shape))
    for shape in comparison.servers:
        for server in results.servers(shape):
            share = results.median(shape, server, lambda one: one.load_share)
            if share > _MOST_LOAD:
                out.print(
                    f"[yellow]The load took {share:.0%} of its core for "
                    f"{comparison.server(shape, server).title} at {shape}: it may be what was "
                    "measured.[/yellow]"
                )


def _table(comparison: Comparison, results: Results, shape: Shape) -> Table:
    rounds = [one for server in results.servers(shape) for one in results.rounds(shape, server)]
    redis = any(one.redis_cpu is not None for one in rounds)
    caption = "Redis: µs of its CPU for each; it is another process, and in no ratio."
    table = plain_table(str(shape), caption if redis else None)
    columns = _columns(comparison.unit, redis=redis)
    table.add_column("", no_wrap=True)
    for heading, _, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("ours\n÷ it", justify="right", no_wrap=True)
    table.add_column("at\nleast", justify="right", no_wrap=True)
    for server in results.servers(shape):
        figures = [write(results.median(shape, server, figure)) for _, figure, write in columns]
        style = "bold" if server == JACKFIELD.name else None
        title = comparison.server(shape, server).title
        verdict = _verdict(comparison, results, shape, server)
        table.add_row(title, *figures, *verdict, style=style)
    return table


def _verdict(
    comparison: Comparison, results: Results, shape: Shape, server: str
) -> tuple[str, str]:
    """How many times as fast ours is, and whether that is what was wanted."""
    ratio = results.ratio(shape, JACKFIELD.name, server)
    if server == JACKFIELD.name or ratio is None:
        return "", ""
    wanted = comparison.wanted.get((shape, server))
    if wanted is None:
        return three_digits(ratio), ""
    return three_digits(ratio), f"{wanted:g} {mark(met=ratio >= wanted)}"


def write_json(
    path: Path,
    comparison: Comparison,
    results: Results,
    options: dict[str, Any],
    **others: object,
) -> None:
    """Write every round's figures, what they were measured on, and what else was found."""
    document = {
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "options": options,
        "ratios": [
            {**shape._asdict(), "server": server, "ratio": ratio, "wanted": wanted}
            for (shape, server), wanted in comparison.wanted.items()
            if (ratio := results.ratio(shape, JACKFIELD.name, server)) is not None
        ],
        "measurements": list(results.as_dicts()),
        **others,
    }
    path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def draw(path: Path, comparison: Comparison, results: Results) -> None:
    """Draw how many per second of CPU, medians and ranges, as a PNG."""
    mpl.use("agg")
    shapes = [shape for shape in comparison.servers if results.servers(shape)]
    figure = Figure(figsize=(9, 0.8 + 2.4 * len(shapes)), layout="constrained")
    figure.suptitle(comparison.title)
    # What is not the same kind of thing has a scale of its own.
    shared = len({shape.scenario for shape in shapes}) == 1
    all_axes = figure.subplots(len(shapes), sharex=shared, squeeze=False)[:, 0]
    for shape, axes in zip(shapes, all_axes, strict=True):
        _bars(axes, comparison, results, shape)
    figure.savefig(path, format="png", dpi=150)


def _bars(axes: Axes, comparison: Comparison, results: Results, shape: Shape) -> None:
    servers = results.servers(shape)
    rounds = [[one.per_cpu_second for one in results.rounds(shape, server)] for server in servers]
    middles = [median(figures) for figures in rounds]
    ranges = [
        [middle - min(figures) for middle, figures in zip(middles, rounds, strict=True)],
        [max(figures) - middle for middle, figures in zip(middles, rounds, strict=True)],
    ]
    bars = axes.barh(
        [comparison.server(shape, server).title for server in servers],
        middles,
        xerr=ranges,
        color=[_OURS if server == JACKFIELD.name else _THEIRS for server in servers],
        error_kw={"elinewidth": 1, "capsize": 2},
    )
    axes.bar_label(bars, labels=[f"{middle:,.0f}" for middle in middles], padding=6)
    axes.set_title(str(shape), fontsize=10)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
