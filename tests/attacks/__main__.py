"""Attacks: all rows against one server at once, with a well-behaved client beside them.

Run as ``python -m tests.attacks``, or by ``make attack``.
"""

import asyncio
import signal
import sys
from typing import Final

import click
from rich.console import Console
from rich.markup import escape

from tests.attacks.dearest import WANTED, dearest
from tests.attacks.rows import Row, find_rows
from tests.attacks.run import Report, lay_siege
from tests.support.builtin import built_in

out: Final = Console(highlight=False, soft_wrap=True)


@click.command()
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Only the rows of this group, or the row of this name; may be given several times.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    help="How long they attack.",
)
def main(*, only: tuple[str, ...], seconds: float) -> None:
    """Lay siege to a server with small limits, and see that a well-behaved client is served.

    Every row attacks at the same time. The well-behaved client must be served throughout, no
    connection of its may be refused, Redis must be within its bounds afterwards, and /readyz and
    the metrics must be true to what clients saw. With the row "payloads", no message may take the
    server longer than 5 ms before its handler; that is measured first.

    Exit codes: 0 if all is well, 1 if anything is wrong.
    """
    try:
        rows = find_rows(only)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    dear = _measure() if "payloads" in {row.name for row in rows} else []
    try:
        report = asyncio.run(_run(rows, seconds))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    report.wrong += dear
    _print_verdict(report)
    sys.exit(1 if report.wrong else 0)


def _measure() -> list[str]:
    """Print how long the dearest message of each built-in type takes; return which take too long.

    It is done before anybody attacks: what else the machine does is not the messages' fault.
    """
    wrong = []
    for handler in built_in():
        milliseconds = dearest(handler)
        out.print(f"the dearest {handler.type} takes {milliseconds:.2f} ms")
        if milliseconds > WANTED:
            wrong.append(f"{handler.type} takes {milliseconds:.2f} ms, more than {WANTED:g}")
    return wrong


async def _run(rows: list[Row], seconds: float) -> Report:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)  # so that no process is left behind
    return await lay_siege(rows, seconds, out.print)


def _print_verdict(report: Report) -> None:
    for words in report.answers:
        out.print(escape(words))
    out.print(
        f"the well-behaved client was served {report.rounds} rounds, and put off {report.put_off} "
        f"times; {report.most_used:.0%} of Redis's memory was used at most"
    )
    for words in report.wrong:
        out.print(f"[red]{escape(words)}[/red]")
    if report.wrong:
        out.print("[bold red]FAILED[/bold red]")
    else:
        out.print("[bold green]PASSED[/bold green]: the well-behaved client was served throughout.")


if __name__ == "__main__":
    main()
