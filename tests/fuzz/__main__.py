"""Fuzz: messages at random, to two nodes, in both encodings, from several identities.

Run as ``python -m tests.fuzz``, or by ``make fuzz``.
"""

import asyncio
import contextlib
from collections import Counter
from typing import Any, Final

import click
from rich.markup import escape

from tests.fuzz.run import Fuzz, Plan, Report
from tests.support.long_runs import exit_with, out, run, seed_option

#: Seconds between two lines about how it goes.
_INTERVAL: Final = 20.0


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(3, 24 * 3600),
    default=600.0,
    show_default=True,
    help="How long messages are sent.",
)
@seed_option("Each client makes the same choices.")
@click.option(
    "--clients",
    type=click.IntRange(1, 1000),
    default=8,
    show_default=True,
    help="How many clients send.",
)
def main(*, seconds: float, seed: int, clients: int) -> None:
    """Send messages of every built-in type, right, nearly right and damaged, to two nodes.

    No message may have more than one answer or an internal error, connections may end only with
    documented close codes, no trace may be logged, and from four minutes on the memory of no node
    may grow over the second half by 0.2 MiB a minute.

    Exit codes: 0 if all is well, 1 if anything is wrong.
    """
    plan = Plan(seconds=seconds, seed=seed, clients=clients)
    out.print(f"Fuzz for {seconds:g} s, --seed {seed}")
    report = run(_run(plan))
    _print_report(report)
    exit_with(report.wrong, failed=f" with --seed {seed}")


async def _run(plan: Plan) -> Report:
    fuzz = Fuzz(plan, out.print)
    progress = asyncio.create_task(_tell_progress(fuzz))
    try:
        return await fuzz.run()
    finally:
        progress.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await progress


async def _tell_progress(fuzz: Fuzz) -> None:
    begin = asyncio.get_running_loop().time()
    while True:
        await asyncio.sleep(_INTERVAL)
        passed = asyncio.get_running_loop().time() - begin
        memory = ", ".join(f"{samples[-1][1]:.1f}" for samples in fuzz.memory if samples)
        out.print(f"[dim]{passed:7.1f} s[/dim]  {fuzz.tally.sent.total()} messages; {memory} MiB")


def _print_report(report: Report) -> None:
    tally = report.tally
    out.print()
    out.print(f"{tally.sent.total()} messages were sent, {_counted(tally.sent)}")
    out.print(f"what came: {_counted(tally.answers)}")
    out.print(f"connections ended with {_counted(tally.closed)}")
    growth = ", ".join(f"{each:+.2f}" for each in report.growth)
    out.print(f"nodes grew by {growth} MiB a minute over the second half")
    for words, messages in tally.led.items():
        out.print(f"before the first time that {escape(words)}:")
        for data in messages:
            out.print(f"    {data!r}", markup=False)


def _counted(counter: Counter[Any]) -> str:
    return ", ".join(f"{number} x {name}" for name, number in counter.most_common()) or "nothing"


if __name__ == "__main__":
    main()
