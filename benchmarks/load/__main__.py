"""Put one server under load, and print the measurement as JSON."""

import json
from dataclasses import asdict

import click
import psutil

from benchmarks.results import REQUESTS, SCENARIOS, Shape
from benchmarks.wire import DIALECTS, WireError

from .measuring import measure


@click.command()
@click.option("--port", type=int, required=True, help="Where the server listens, on 127.0.0.1.")
@click.option("--pid", type=int, required=True, help="The server's process.")
@click.option("--redis-pid", type=int, help="The process of its Redis, if that is not its child.")
@click.option("--dialect", type=click.Choice(list(DIALECTS)), required=True)
@click.option("--scenario", type=click.Choice(list(SCENARIOS)), default=REQUESTS, show_default=True)
@click.option("--connections", type=click.IntRange(1, 10_000), default=64, show_default=True)
@click.option("--depth", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option("--others", type=click.IntRange(0), default=0, help="Rooms without any event.")
@click.option("--seconds", type=click.FloatRange(0.5, 60), default=2, show_default=True)
def main(
    *,
    port: int,
    pid: int,
    redis_pid: int | None,
    dialect: str,
    scenario: str,
    connections: int,
    depth: int,
    others: int,
    seconds: float,
) -> None:
    """Put one server under load, and print the measurement as JSON."""
    shape = Shape(scenario, connections, depth, others)
    try:
        measurement = measure(port, DIALECTS[dialect], shape, seconds, pid=pid, redis_pid=redis_pid)
    except (WireError, OSError, psutil.Error) as exc:
        raise click.ClickException(f"{type(exc).__name__}: {exc}") from exc
    click.echo(json.dumps(asdict(measurement)))


if __name__ == "__main__":
    main()
