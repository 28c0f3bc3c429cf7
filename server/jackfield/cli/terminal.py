"""What commands print: what was asked for on standard output, everything else on standard error."""

import re
import sys
from collections.abc import Sized
from typing import IO, Any, Final

import click
import msgspec
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

#: Of what failed; and of a server that could not be connected to. Wrong usage is click's own 2.
FAILED: Final = 1
NOT_CONNECTED: Final = 3

out: Final = Console(highlight=False, markup=False, emoji=False)
err: Final = Console(highlight=False, markup=False, emoji=False, stderr=True)

#: What steers a terminal instead of standing on it. Servers and plugins say what they like.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Failure(click.ClickException):
    """What was asked for failed. The user reads the lines, and no traceback.

    Args:
        headline: What failed.
        *details: More about it, each on a line.
    """

    exit_code = FAILED

    def __init__(self, headline: str, *details: str) -> None:
        super().__init__(headline)
        self.details = details

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - click never gives one
        """Print it, as click asks."""
        err.print(Text(one_line(self.message), style="bold red"), soft_wrap=True)
        for line in self.details:
            err.print(Text(one_line(line)), soft_wrap=True)


class NotConnectedError(Failure):
    """There is no connection to the server, which a script may want to try again."""

    exit_code = NOT_CONNECTED


def one_line(text: str) -> str:
    """A text of whatever origin as one line that is safe to print."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split("\n")))


def count(things: Sized, noun: str) -> str:
    """How many there are, in words."""
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def print_json(value: Any, *, may_wrap: bool = False) -> None:
    """Print a value as one line of JSON; on a terminal in colours.

    Args:
        value: Anything that is JSON.
        may_wrap: Whether a terminal gets several lines, indented, where one is too narrow.
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
