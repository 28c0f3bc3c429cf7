"""What is wrong with a configuration, for the operator: where it stands, and in which words."""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

#: From the outermost table inwards; a number is an index into a list.
KeyPath = tuple[str | int, ...]

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class Problem(NamedTuple):
    """One thing that is wrong with a configuration.

    Attributes:
        where: ``jackfield.toml:12``, the name of an environment variable, or ``override``.
        message: The dotted key, and what is wrong with it. Never the value of a secret.
    """

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class ConfigError(Exception):
    """A configuration cannot be used.

    Args:
        problems: All that is wrong with it.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def dotted_key(path: KeyPath) -> str:
    """Return a path as TOML spells it: ``plugins.chat.rooms[2]."full name"``."""
    words = ""
    for key in path:
        if isinstance(key, int):
            words += f"[{key}]"
        else:
            bare = _BARE_KEY.fullmatch(key)
            words += ("." if words else "") + (key if bare else json.dumps(key))
    return words


def suggest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return the end of a sentence about an unknown name: what was meant, or all that there are.

    Args:
        name: The unknown one.
        known: The names there are.
        prefix: What all of them start with, left out of the comparison: it would make any two
            names look alike.
    """
    names = [each.removeprefix(prefix) for each in known]
    close = difflib.get_close_matches(name.removeprefix(prefix), names, n=1)
    if close:
        return f"; did you mean '{prefix}{close[0]}'?"
    if names:
        return f"; there are: {', '.join(prefix + each for each in names)}"
    return "; there are none"
