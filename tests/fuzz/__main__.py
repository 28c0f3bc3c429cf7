"""Fuzz: messages at random, to two nodes, in both encodings, from several identities.

Run as ``python -m tests.fuzz``, or by ``make fuzz``.
"""

import asyncio
import contextlib
import secrets
import signal
import sys
from collections import Counter
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape

from tests.fuzz.run import Fuzz, Plan, Report

#: Seconds between two lines about how it goes.
_INTERVAL: Final = 20.0

out: Final = Console(highlight=False, soft_wrap=True)


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(3, 24 * 3600),
    default=600.0,
    show_default=True,
    help="How long messages are sent.",
)
@click.option(
    "--seed",
    type=int,
    default=lambda: secrets.randbelow(10**6),
    show_default="a random one",
    help="Each client makes the same choices.",
)
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
    try:
        report = asyncio.run(_run(plan))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    _print_verdict(report, seed)
    sys.exit(1 if report.wrong else 0)


async def _run(plan: Plan) -> Report:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)  # so that no process is left behind
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


def _print_verdict(report: Report, seed: int) -> None:
    tally = report.tally
    out.print()
    out.print(f"{tally.sent.total()} messages were sent, {_counted(tally.sent)}")
    out.print(f"what came: {_counted(tally.answers)}")
    out.print(f"connections ended with {_counted(tally.closed)}")
    growth = ", ".join(f"{each:+.2f}" for each in report.growth)
    out.print(f"nodes grew by {growth} MiB a minute over the second half")
    for words in report.wrong:
        out.print(f"[red]{escape(words)}[/red]")
    if report.wrong:
        for words, messages in tally.led.items():
            out.print(f"before the first time that {escape(words)}:")
            for data in messages:
                out.print(f"    {data!r}", markup=False)
        out.print(f"[bold red]FAILED[/bold red] with --seed {seed}")
    else:
        out.print("[bold green]PASSED[/bold green]")


def _counted(counter: Counter[Any]) -> str:
    return ", ".join(f"{number} x {name}" for name, number in counter.most_common()) or "nothing"


if __name__ == "__main__":
    main()
