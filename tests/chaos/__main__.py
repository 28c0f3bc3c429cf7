"""Chaos: all that servers stand on fails at random, under load, and nothing may be lost unsaid.

Run as ``python -m tests.chaos``, or by ``make chaos``.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import click

from tests.chaos.run import Chaos, Plan, Report
from tests.support.long_runs import exit_with, out, run, seed_option

#: Seconds between two lines about how it goes.
_INTERVAL: Final = 10.0


@click.command()
@click.option(
    "--minutes",
    type=click.FloatRange(0.05, 24 * 60),
    default=5.0,
    show_default=True,
    help="How long things go wrong.",
)
@seed_option("The same faults come in the same order.")
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
    report = run(_run(plan))
    _print_report(report)
    exit_with(report.wrong, passed=": all that was published came, once and in order.")


async def _run(plan: Plan) -> Report:
    loop = asyncio.get_running_loop()
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


def _print_report(report: Report) -> None:
    out.print()
    out.print(
        f"{report.published} publications were acknowledged, after {_counted(report.refusals)}"
    )
    out.print(
        f"{report.delivered} events were delivered, over {report.subscriptions} subscriptions; "
        f"{report.gaps} times a client was told that it may lack some"
    )
    out.print(f"connections ended with {_counted(report.closed)}")


def _counted(codes: Counter[Any]) -> str:
    named = ("lost" if code is None else code for code in codes)
    counted = (f"{number} x {name}" for name, number in zip(named, codes.values(), strict=True))
    return ", ".join(counted) or "nothing"


if __name__ == "__main__":
    main()
