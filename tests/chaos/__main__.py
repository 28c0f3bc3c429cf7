"""Chaos: all that servers stand on fails at random, under load, and nothing may be lost unsaid.

Run as ``python -m tests.chaos``, or by ``make chaos``.
"""

import asyncio
import contextlib
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape

from tests.chaos.run import Chaos, Plan, Report

#: Seconds between two lines about how it goes.
_INTERVAL: Final = 10.0

out: Final = Console(highlight=False, soft_wrap=True)


@click.command()
@click.option(
    "--minutes",
    type=click.FloatRange(0.05, 24 * 60),
    default=5.0,
    show_default=True,
    help="How long things go wrong.",
)
@click.option(
    "--seed",
    type=int,
    default=lambda: secrets.randbelow(10**6),
    show_default="a random one",
    help="The same faults come in the same order.",
)
@click.option(
    "--clients",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="How many clients follow.",
)
@click.option(
    "--restarts", is_flag=True, help="Redis is killed and restarted as well, with its data."
)
def main(*, minutes: float, seed: int, clients: int, restarts: bool) -> None:
    """Break everything that Jackfield stands on, at random and under load.

    Two nodes share a Valkey behind a proxy. Nodes are killed, nodes and Valkey are held still,
    lines are cut or fall silent, replies are lost, scripts are forgotten. Clients follow a topic
    meanwhile, and publishers repeat each publication until it is acknowledged. At the end every
    client must have every publication, once and in order, or have been told what it lacks.

    Exit codes: 0 if all is well, 1 if anything is wrong.
    """
    plan = Plan(seconds=minutes * 60, seed=seed, clients=clients, restarts=restarts)
    out.print(f"Chaos for {minutes:g} min, --seed {seed}" + " --restarts" * restarts)
    try:
        report = asyncio.run(_run(plan))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    _print_verdict(report)
    sys.exit(1 if report.wrong else 0)


async def _run(plan: Plan) -> Report:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)  # so that no process is left behind
    begin = loop.time()

    def tell(words: str) -> None:
        out.print(f"[dim]{loop.time() - begin:7.1f} s[/dim]  {words}")

    chaos = Chaos(plan, tell)
    progress = asyncio.create_task(_tell_progress(chaos, tell))
    try:
        return await chaos.run()
    finally:
        progress.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await progress


async def _tell_progress(chaos: Chaos, tell: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(_INTERVAL)
        report = chaos.report()
        tell(f"[bold]{report.published} published, {report.delivered} delivered[/bold]")


def _print_verdict(report: Report) -> None:
    out.print()
    out.print(
        f"{report.published} publications were acknowledged, after {_counted(report.refusals)}"
    )
    out.print(
        f"{report.delivered} events were delivered, over {report.subscriptions} subscriptions; "
        f"{report.gaps} times a client was told that it may lack some"
    )
    out.print(f"connections ended with {_counted(report.closed)}")
    for words in report.wrong:
        out.print(f"[red]{escape(words)}[/red]")
    if report.wrong:
        out.print("[bold red]FAILED[/bold red]")
    else:
        out.print(
            "[bold green]PASSED[/bold green]: all that was published came, once and in order."
        )


def _counted(codes: Counter[Any]) -> str:
    named = ("lost" if code is None else code for code in codes)
    counted = (f"{number} x {name}" for name, number in zip(named, codes.values(), strict=True))
    return ", ".join(counted) or "nothing"


if __name__ == "__main__":
    main()
