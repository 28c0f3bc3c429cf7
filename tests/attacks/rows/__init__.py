"""The rows of a siege: each module is one attack, found by its name.

A module has ``GROUP``, which ``--only`` chooses; ``attack``, a coroutine that goes on until it is
cancelled; and ``verdict``, which says afterwards what must not be, in words.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from tests.attacks.siege import Siege


@dataclass(frozen=True)
class Row:
    """One attack.

    Attributes:
        name: What it is called.
        group: The group that it is of.
        attack: Attacks until cancelled.
        verdict: Says afterwards what must not be, in words; nothing if all is well.
    """

    name: str
    group: str
    attack: Callable[[Siege], Awaitable[None]]
    verdict: Callable[[Siege], Iterable[str]]


def find_rows(only: Iterable[str] = ()) -> list[Row]:
    """All rows, or those whose group or name is among some.

    Raises:
        ValueError: There is none of a name.
    """
    rows = []
    for found in iter_modules(__path__):
        module = import_module(f"{__name__}.{found.name}")
        rows.append(Row(found.name, module.GROUP, module.attack, module.verdict))
    unknown = set(only) - {each for row in rows for each in (row.name, row.group)}
    if unknown:
        raise ValueError(f"there is no row or group {', '.join(sorted(unknown))}")
    return [row for row in rows if not only or {row.name, row.group} & set(only)]
