"""Requests: how many a server validates and answers per second of CPU, side by side with peers.

Run as ``python -m benchmarks.requests``, or by ``make bench``.
"""

import contextlib
import signal
import sys
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .load import WARM_UP
from .report import draw, print_tables, write_json
from .results import SHAPES, Results
from .servers import SERVERS, BenchmarkError, RunningServer, cores, running

out: Final = Console(highlight=False)
err: Final = Console(highlight=False, stderr=True)

_FILE: Final = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(0.5, 60),
    default=3.0,
    show_default=True,
    help=f"How long each measurement takes, after {WARM_UP:g} s to warm up.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 50),
    default=5,
    show_default=True,
    help="How often each is measured; what is told are medians.",
)
@click.option(
    "--only",
    metavar="NAME",
    type=click.Choice(list(SERVERS)),
    multiple=True,
    help=f"Measure this one; may be given several times. One of {', '.join(SERVERS)}.",
)
@click.option("--plot", metavar="FILE", type=_FILE, help="Draw the result, as a PNG.")
@click.option("--json", "as_json", metavar="FILE", type=_FILE, help="Write all figures, as JSON.")
def main(
    *,
    seconds: float,
    rounds: int,
    only: tuple[str, ...],
    plot: Path | None,
    as_json: Path | None,
) -> None:
    """Measure Jackfield side by side with other servers, on this machine.

    Every server has one core, the load another. All are measured in turn, round after round, so
    that whatever else the machine does hits all alike. Jackfield runs as it is deployed, with its
    defaults and its Valkey; README.md tells what the others are.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that contexts end
    try:
        results = _measure(only or tuple(SERVERS), seconds, rounds)
    except BenchmarkError as exc:
        raise click.ClickException(str(exc)) from exc
    print_tables(out, results)
    if as_json is not None:
        write_json(as_json, results, {"seconds": seconds, "rounds": rounds})
    if plot is not None:
        draw(plot, results)


def _measure(names: tuple[str, ...], seconds: float, rounds: int) -> Results:
    for_servers, for_load = cores() or (None, None)
    if for_load is None:
        err.print("[yellow]Servers and load are not pinned to a core each: they can't be here.[/]")
    results = Results()
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(running(SERVERS[name], for_servers))
            for name in names
            if not _skipped(name)
        ]
        if not servers:
            raise BenchmarkError("There is nothing to measure.")
        progress = stack.enter_context(_progress())
        task = progress.add_task("", total=rounds * len(SHAPES) * len(servers))
        for number in range(rounds):
            for shape in SHAPES:
                for server in _in_turn(servers, number):
                    name = server.server.name
                    words = f"{server.server.title}: {shape}"
                    progress.update(task, description=words)
                    results.add(shape, name, server.measure(shape, seconds, for_load))
                    progress.advance(task)
    return results


def _skipped(name: str) -> bool:
    missing = SERVERS[name].missing
    if missing is not None:
        err.print(f"[yellow]{SERVERS[name].title} is skipped: {missing}.[/yellow]")
    return missing is not None


def _in_turn(servers: list[RunningServer], number: int) -> list[RunningServer]:
    """Every second round backwards: a machine that gets slower favours nobody."""
    return servers[:: -1 if number % 2 else 1]


def _progress() -> Progress:
    columns: tuple[Any, ...] = (
        TextColumn("{task.description:<56}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # Redrawn seldom: it runs beside the load.
    return Progress(
        *columns,
        console=err,
        transient=True,
        refresh_per_second=2,
        disable=not err.is_terminal,
    )


if __name__ == "__main__":
    main()
