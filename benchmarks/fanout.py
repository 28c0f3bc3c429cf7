"""Topics: how many events a server delivers per second of CPU, side by side with peers.

Run as ``python -m benchmarks.fanout``, or by ``make bench-fanout``. It also measures what a
subscription takes of memory, and whether topics cost anything that an event is not for.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from . import side_by_side
from .report import draw, mark, out, plain_table, print_tables, write_json
from .results import ECHO, FANOUT, Results, Shape
from .servers import JACKFIELD, NODE_SOCKETIO, PYTHON_SOCKETIO, TUNED_SOCKETIO, WS, Server, cores
from .side_by_side import Comparison
from .subscriptions import CONNECTIONS, SHARES, bytes_per_subscription

MANY: Final = Shape(FANOUT, 1_000, 16)
ONE: Final = Shape(FANOUT, 1_000, 1)
TO_ONESELF: Final = Shape(ECHO, 64, 8)
#: The cost of an event, with and without topics that it is not for.
ALONE: Final = Shape(FANOUT, 10, 8)
AMONG_OTHERS: Final = Shape(FANOUT, 10, 8, others=5_000)

_WITHOUT_REDIS: Final = (JACKFIELD, NODE_SOCKETIO, WS, PYTHON_SOCKETIO)
_WITH_REDIS: Final = tuple(
    replace(server, redis=True)
    for server in (JACKFIELD, NODE_SOCKETIO, PYTHON_SOCKETIO, TUNED_SOCKETIO)
)
SERVERS: Final = {server.name: server for server in (*_WITHOUT_REDIS, *_WITH_REDIS)}
COMPARISON: Final = Comparison(
    title="Events received per second of server CPU",
    unit="events",
    servers={MANY: _WITHOUT_REDIS, ONE: _WITHOUT_REDIS, TO_ONESELF: _WITH_REDIS},
    wanted={
        (MANY, "node-socketio"): 10.0,
        (MANY, "ws"): 10.0,
        (MANY, "socketio"): 50.0,
        (ONE, "node-socketio"): 1.3,
        (ONE, "ws"): 1.3,
        (TO_ONESELF, "node-socketio"): 1.3,
        (TO_ONESELF, "socketio"): 25.0,
    },
)
#: Bytes that a subscription may take: 100 of them far less than the connection they belong to.
WANTED_BYTES: Final = 300

_FLATNESS: Final = "flatness"
_MEMORY: Final = "memory"
_SCENARIOS: Final = (FANOUT, ECHO, _FLATNESS, _MEMORY)


@click.command()
@side_by_side.options(*SERVERS)
@click.option(
    "--scenario",
    metavar="NAME",
    type=click.Choice(_SCENARIOS),
    multiple=True,
    help=f"Measure this; may be given several times. One of {', '.join(_SCENARIOS)}.",
)
def main(
    *,
    seconds: float,
    rounds: int,
    only: tuple[str, ...],
    plot: Path | None,
    as_json: Path | None,
    scenario: tuple[str, ...],
) -> None:
    """Measure topics of Jackfield side by side with rooms of other servers, on this machine.

    Events to a thousand members, with 16 publications in flight and with one; events to oneself by
    way of a Redis that all use; and of Jackfield alone, the memory of a subscription, and the cost
    of an event among thousands of topics that it is not for. README.md tells how.
    """
    scenarios = scenario or _SCENARIOS
    ours = not only or JACKFIELD.name in only
    with side_by_side.stoppable():
        servers = _to_measure(only, scenarios)
        results = side_by_side.measure(servers, seconds, rounds) if servers else Results()
        memory = _memory() if ours and _MEMORY in scenarios else {}
    print_tables(COMPARISON, results)
    _print_flatness(results)
    _print_memory(memory)
    if as_json is not None:
        options = {"seconds": seconds, "rounds": rounds}
        others = {"flatness": flatness(results), "bytes_per_subscription": memory}
        write_json(as_json, COMPARISON, results, options, **others)
    if plot is not None:
        draw(plot, COMPARISON, results)


def _to_measure(only: tuple[str, ...], scenarios: tuple[str, ...]) -> dict[Shape, Iterable[Server]]:
    servers: dict[Shape, Iterable[Server]] = {
        shape: who for shape, who in COMPARISON.only(only).items() if shape.scenario in scenarios
    }
    if _FLATNESS in scenarios and (not only or JACKFIELD.name in only):
        servers |= {ALONE: [JACKFIELD], AMONG_OTHERS: [JACKFIELD]}
    return servers


def _memory() -> dict[str, float]:
    found = {}
    with side_by_side.err.status("") as status:
        for name, room_of in SHARES.items():
            status.update(f"Memory of a subscription, {name}")
            found[name] = bytes_per_subscription(room_of, cores().servers)
    return found


def _print_flatness(results: Results) -> None:
    ratio = flatness(results)
    if ratio is None:
        return
    table = plain_table("Cost of an event")
    table.add_column("", no_wrap=True)
    table.add_column("CPU µs\neach", justify="right")
    for shape in (ALONE, AMONG_OTHERS):
        cost = results.median(shape, JACKFIELD.name, lambda one: 1e6 / one.per_cpu_second)
        table.add_row(str(shape), f"{cost:.2f}")
    table.add_row("ratio", f"{ratio:.2f}")
    out.print(table)


def flatness(results: Results) -> float | None:
    """How many times as much CPU an event takes among other topics; None if it was not measured."""
    return results.cost_ratio(JACKFIELD.name, AMONG_OTHERS, ALONE)


def _print_memory(memory: dict[str, float]) -> None:
    if not memory:
        return
    table = plain_table(f"Memory of a subscription, {CONNECTIONS:,} connections")
    table.add_column("", no_wrap=True)
    table.add_column("bytes", justify="right")
    table.add_column("less\nthan", justify="right")
    for name, size in memory.items():
        table.add_row(name, f"{size:.0f}", f"{WANTED_BYTES} {mark(met=size < WANTED_BYTES)}")
    out.print(table)


if __name__ == "__main__":
    main()
