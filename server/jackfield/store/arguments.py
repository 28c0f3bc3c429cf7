"""How values become the arguments of a script, and how its reply becomes rows again.

Times are in seconds everywhere in Python, and in milliseconds in scripts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from jackfield.redis.client import Argument


def milliseconds(seconds: float) -> int:
    """A time as a script takes it."""
    return round(seconds * 1000)


def flag(value: bool) -> str:  # noqa: FBT001 - what it is about
    """Whether something is so, as a script takes it: it compares with ``'1'``."""
    return "1" if value else ""


def pairs(fields: Mapping[str, Argument]) -> list[Argument]:
    """Fields and values in turn, as ``HSET`` takes them."""
    return list(chain.from_iterable(fields.items()))


def flat(rows: Iterable[Iterable[Argument]]) -> Iterator[Argument]:
    """Rows one behind the other, as a script takes them."""
    return chain.from_iterable(rows)


def rows(reply: Sequence[Any], width: int) -> Iterator[tuple[Any, ...]]:
    """The rows of so many values that a script has returned one behind the other."""
    return zip(*[iter(reply)] * width, strict=True)
