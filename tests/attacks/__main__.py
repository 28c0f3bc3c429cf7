"""Attacks: all rows against one server at once, with a well-behaved client beside them.

Run as ``python -m tests.attacks``, or by ``make attack``.
"""

import click
from rich.markup import escape

from tests.attacks.dearest import WANTED, dearest
from tests.attacks.rows import find_rows
from tests.attacks.run import lay_siege
from tests.support.builtin import built_in
from tests.support.long_runs import exit_with, out, run


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
    report = run(lay_siege(rows, seconds, out.print))
    for words in report.answers:
        out.print(escape(words))
    out.print(
        f"the well-behaved client was served {report.rounds} rounds, and put off {report.put_off} "
        f"times; {report.most_used:.0%} of Redis's memory was used at most"
    )
    passed = ": the well-behaved client was served throughout."
    exit_with([*report.wrong, *dear], passed=passed)


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


if __name__ == "__main__":
    main()
