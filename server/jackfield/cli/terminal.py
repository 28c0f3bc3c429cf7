"""Printing: results on standard output, everything else on standard error."""

import re
import sys
from collections.abc import Sized
from typing import IO, Any, Final

import click
import msgspec
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

#: The exit codes of a failure, and of a connection that could not be opened; wrong usage is 2, by
#: click.
FAILED: Final = 1
NOT_CONNECTED: Final = 3

out: Final = Console(highlight=False, markup=False, emoji=False)
err: Final = Console(highlight=False, markup=False, emoji=False, stderr=True)

#: Control characters, which act on a terminal: text of servers and plugins may have them.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Failure(click.ClickException):
    """A failure of a command, shown to the user without a traceback.

    Args:
        headline: What failed.
        *details: More about it, line by line.
    """

    exit_code = FAILED

    def __init__(self, headline: str, *details: str) -> None:
        super().__init__(headline)
        self.details = details

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - click never gives one
        """Print the failure; click calls this."""
        err.print(Text(one_line(self.message), style="bold red"), soft_wrap=True)
        for line in self.details:
            err.print(Text(one_line(line)), soft_wrap=True)


class NotConnectedError(Failure):
    """The connection could not be opened: its exit code lets a script try again."""

    exit_code = NOT_CONNECTED


def one_line(text: str) -> str:
    """Return any text as one line that is safe to print."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split("\n")))


def count(things: Sized, noun: str) -> str:
    """Return how many there are, with the noun in the right number."""
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def print_json(value: Any, *, may_wrap: bool = False) -> None:
    """Print a value as one line of JSON, in colours on a terminal.

    Args:
        value: A JSON value.
        may_wrap: Whether to print several indented lines on a terminal that is too narrow for one.
    """
    encoded = msgspec.json.encode(value)
    line = msgspec.json.format(encoded, indent=0)
    if not sys.stdout.isatty():
        click.echo(line)  # the bytes: JSON is UTF-8, whatever the locale
        return
    text = line.decode()
    if may_wrap and len(text) > out.width:
        text = msgspec.json.format(encoded).decode()
    out.print(JSONHighlighter()(Text(text)), soft_wrap=True)
