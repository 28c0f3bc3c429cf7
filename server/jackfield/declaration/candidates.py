"""What is installed and declares an entry point."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

ENTRY_POINT_GROUP: Final = "jackfield.plugins"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin that may be loaded.

    Attributes:
        name: The entry point's name.
        distribution: What it comes from, by its name on the package index.
        version: The distribution's version.
        load: Imports it.
    """

    name: str
    distribution: str
    version: str
    load: Callable[[], object]


def discover(group: str = ENTRY_POINT_GROUP) -> list[Candidate]:
    """Everything installed that declares an entry point in a group; by default every plugin."""
    return [
        Candidate(
            name=point.name,
            distribution="unknown" if point.dist is None else point.dist.name,
            version="" if point.dist is None else point.dist.version,
            load=point.load,
        )
        for point in importlib.metadata.entry_points(group=group)
    ]
