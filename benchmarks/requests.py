"""Requests: how many a server validates and answers per second of CPU, side by side with peers.

Run as ``python -m benchmarks.requests``, or by ``make bench``.
"""

from pathlib import Path
from typing import Final

import click

from . import side_by_side
from .report import draw, print_tables, write_json
from .results import REQUESTS, Shape
from .servers import AIOHTTP, FASTAPI, JACKFIELD, PYTHON_SOCKETIO, WS
from .side_by_side import Comparison

MANY: Final = Shape(REQUESTS, 64, 8)
ONE: Final = Shape(REQUESTS, 64, 1)
SERVERS: Final = {
    server.name: server for server in (JACKFIELD, AIOHTTP, FASTAPI, PYTHON_SOCKETIO, WS)
}
COMPARISON: Final = Comparison(
    title="Validated requests per second of server CPU",
    unit="req",
    servers={MANY: tuple(SERVERS.values()), ONE: tuple(SERVERS.values())},
    wanted={
        (MANY, "aiohttp"): 3.5,
        (MANY, "fastapi"): 4.0,
        (MANY, "socketio"): 10.0,
        (MANY, "ws"): 1.5,
        (ONE, "ws"): 1.0,
    },
)


@click.command()
@side_by_side.options(*SERVERS)
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
    with side_by_side.stoppable():
        results = side_by_side.measure(COMPARISON.only(only), seconds, rounds)
    print_tables(COMPARISON, results)
    if as_json is not None:
        write_json(as_json, COMPARISON, results, {"seconds": seconds, "rounds": rounds})
    if plot is not None:
        draw(plot, COMPARISON, results)


if __name__ == "__main__":
    main()
