"""How the results are shown: tables for the terminal, a plot, a file."""

import json
import os
import platform
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

from .results import SHAPES, WANTED, Measurement, Results, Shape
from .servers import JACKFIELD, SERVERS

#: Of a core: a load generator that takes more may be what is measured.
_MOST_LOAD: Final = 0.8
_OURS: Final = "#1f6f8b"
_THEIRS: Final = "#b8c4cc"


#: Heading, figure and format.
_COLUMNS: Final[tuple[tuple[str, Callable[[Measurement], float], str], ...]] = (
    ("req/s\nper CPU", lambda one: one.per_cpu_second, ",.0f"),
    ("req/s\nwall", lambda one: one.per_second, ",.0f"),
    ("p50\nms", lambda one: one.p50 * 1e3, ".2f"),
    ("p99\nms", lambda one: one.p99 * 1e3, ".2f"),
    ("MB", lambda one: one.memory / 1e6, ".0f"),
    ("load\nCPU", lambda one: one.load_share, ".0%"),
)


def print_tables(console: Console, results: Results) -> None:
    """Print what was measured, a table for each shape, and warn of what spoils it."""
    for shape in SHAPES:
        if results.servers(shape):
            console.print(_table(results, shape))
    for shape in SHAPES:
        for server in results.servers(shape):
            share = results.median(shape, server, lambda one: one.load_share)
            if share > _MOST_LOAD:
                console.print(
                    f"[yellow]The load took {share:.0%} of its core for {SERVERS[server].title} at "
                    f"{shape}: it may be what was measured.[/yellow]"
                )


def _table(results: Results, shape: Shape) -> Table:
    table = Table(
        box=SIMPLE_HEAD,
        title=str(shape),
        title_justify="left",
        title_style="bold",
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("", no_wrap=True)
    for heading, _, _ in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("ours\n÷ it", justify="right")
    table.add_column("at\nleast", justify="right")
    for server in results.servers(shape):
        figures = [
            format(results.median(shape, server, figure), style) for _, figure, style in _COLUMNS
        ]
        style = "bold" if server == JACKFIELD.name else None
        title = SERVERS[server].title
        table.add_row(title, *figures, *_verdict(results, shape, server), style=style)
    return table


def _verdict(results: Results, shape: Shape, server: str) -> tuple[str, str]:
    """How many times as fast ours is, and whether that is what was wanted."""
    ratio = results.ratio(shape, JACKFIELD.name, server)
    if server == JACKFIELD.name or ratio is None:
        return "", ""
    wanted = WANTED.get((shape, server))
    if wanted is None:
        return f"{ratio:.2f}", ""
    mark = "[green]✓[/green]" if ratio >= wanted else "[red]✗[/red]"
    return f"{ratio:.2f}", f"{wanted:g} {mark}"


def write_json(path: Path, results: Results, options: dict[str, Any]) -> None:
    """Write every round's figures, and what they were measured on."""
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
            for (shape, server), wanted in WANTED.items()
            if (ratio := results.ratio(shape, JACKFIELD.name, server)) is not None
        ],
        "measurements": list(results.as_dicts()),
    }
    path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def draw(path: Path, results: Results) -> None:
    """Draw requests per second of CPU, medians and ranges, as a PNG."""
    mpl.use("agg")
    shapes = [shape for shape in SHAPES if results.servers(shape)]
    figure = Figure(figsize=(9, 0.8 + 2.4 * len(shapes)), layout="constrained")
    figure.suptitle("Validated requests per second of server CPU")
    all_axes = figure.subplots(len(shapes), sharex=True, squeeze=False)[:, 0]
    for shape, axes in zip(shapes, all_axes, strict=True):
        _bars(axes, results, shape)
    figure.savefig(path, format="png", dpi=150)


def _bars(axes: Axes, results: Results, shape: Shape) -> None:
    servers = results.servers(shape)
    rounds = [[one.per_cpu_second for one in results.rounds(shape, server)] for server in servers]
    middles = [median(figures) for figures in rounds]
    ranges = [
        [middle - min(figures) for middle, figures in zip(middles, rounds, strict=True)],
        [max(figures) - middle for middle, figures in zip(middles, rounds, strict=True)],
    ]
    bars = axes.barh(
        [SERVERS[server].title for server in servers],
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
