"""Servers measured side by side: what is compared, in which order, and by which options."""

import contextlib
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .load import WARM_UP
from .results import Results, Shape
from .servers import BenchmarkError, Cores, RunningServer, Server, cores, pinned, running
from .valkey import running_valkey

err: Final = Console(highlight=False, stderr=True)

_FILE: Final = click.Path(dir_okay=False, writable=True, path_type=Path)
_Command = TypeVar("_Command", bound=Callable[..., None])


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is measured side by side.

    Attributes:
        title: What is told, above a plot.
        unit: What is counted.
        servers: Who is measured at each shape; the first one is ours.
        wanted: How many times as many of the unit ours is to do per second of CPU, at least, by
            shape and the other server's name.

    Raises:
        ValueError: Something is wanted of who is not measured there.
    """

    title: str
    unit: str
    servers: Mapping[Shape, Sequence[Server]]
    wanted: Mapping[tuple[Shape, str], float]

    def __post_init__(self) -> None:
        measured = {(shape, who.name) for shape, all_ in self.servers.items() for who in all_}
        if unknown := self.wanted.keys() - measured:
            raise ValueError(f"wanted of who is not measured: {unknown}")

    def server(self, shape: Shape, name: str) -> Server:
        """The server with a name."""
        return next(server for server in self.servers[shape] if server.name == name)

    def only(self, names: Collection[str]) -> dict[Shape, list[Server]]:
        """Who is measured at each shape if only these are to be; all, if none are named."""
        return {
            shape: [server for server in servers if not names or server.name in names]
            for shape, servers in self.servers.items()
        }


def options(*names: str) -> Callable[[_Command], _Command]:
    """The options that all of these benchmarks have.

    Args:
        *names: The servers' names.
    """
    all_options = (
        click.option(
            "--seconds",
            type=click.FloatRange(0.5, 60),
            default=3.0,
            show_default=True,
            help=f"How long each measurement takes, after {WARM_UP:g} s to warm up.",
        ),
        click.option(
            "--rounds",
            type=click.IntRange(1, 50),
            default=5,
            show_default=True,
            help="How often each is measured; what is told are medians.",
        ),
        click.option(
            "--only",
            metavar="NAME",
            type=click.Choice(names),
            multiple=True,
            help=f"Measure this one; may be given several times. One of {', '.join(names)}.",
        ),
        click.option("--plot", metavar="FILE", type=_FILE, help="Draw the result, as a PNG."),
        click.option(
            "--json", "as_json", metavar="FILE", type=_FILE, help="Write all figures, as JSON."
        ),
    )

    def decorate(command: _Command) -> _Command:
        for option in reversed(all_options):
            command = option(command)
        return command

    return decorate


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let contexts end on a signal to stop, and tell of a failure in words."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        yield
    except BenchmarkError as exc:
        raise click.ClickException(str(exc)) from exc


def measure(servers: Mapping[Shape, Iterable[Server]], seconds: float, rounds: int) -> Results:
    """Measure servers in turn, round after round.

    Args:
        servers: Who is measured at each shape.
        seconds: How long each measurement takes.
        rounds: How often each is measured.

    Raises:
        BenchmarkError: One does not start, or does not do what it is measured at.
    """
    where = cores()
    if where.load is None:
        err.print("[yellow]Servers and load are not pinned to a core each: they can't be here.[/]")
    all_servers = {server: None for each in servers.values() for server in each}
    present = [server for server in all_servers if not _skipped(server)]
    if not present:
        raise BenchmarkError("There is nothing to measure.")
    results = Results()
    with contextlib.ExitStack() as stack:
        up = _start(present, where, stack)
        turns = {shape: [up[each] for each in who if each in up] for shape, who in servers.items()}
        progress = stack.enter_context(_progress())
        task = progress.add_task("", total=rounds * sum(map(len, turns.values())))
        for number in range(rounds):
            for shape, turn in turns.items():
                for server in _in_turn(turn, number):
                    words = f"{server.server.title}: {shape}"
                    progress.update(task, description=words)
                    measurement = server.measure(shape, seconds, where.load)
                    results.add(shape, server.server.name, measurement)
                    progress.advance(task)
    return results


def _start(
    servers: Sequence[Server], where: Cores, stack: contextlib.ExitStack
) -> dict[Server, RunningServer]:
    redis = None
    if any(server.redis for server in servers):
        with pinned(where.redis):
            redis = stack.enter_context(running_valkey())
    return {
        server: stack.enter_context(running(server, where.servers, redis if server.redis else None))
        for server in servers
    }


def _skipped(server: Server) -> bool:
    missing = server.missing
    if missing is not None:
        err.print(f"[yellow]{server.title} is skipped: {missing}.[/yellow]")
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
