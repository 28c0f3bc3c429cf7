"""Run the commands of `jackfield` in this process."""

from collections.abc import Callable

from click.testing import CliRunner, Result

from jackfield.cli import main

#: Installs a plugin for the time of a test, by its name and source.
Install = Callable[..., None]


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    """Run a command; an exception it lets out is the test's failure."""
    return CliRunner().invoke(main, arguments, input=stdin, catch_exceptions=False)


def lines(text: str) -> list[str]:
    return text.splitlines()
