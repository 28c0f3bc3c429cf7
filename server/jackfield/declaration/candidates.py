"""Candidates: the entry points that are installed, by which plugins and others are found."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: The entry points that plugins are found by.
PLUGIN_GROUP: Final = "jackfield.plugins"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry point that may be loaded.

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


def discover(group: str = PLUGIN_GROUP) -> list[Candidate]:
    """Return every installed entry point of a group; by default every plugin's."""
    return [
        Candidate(
            name=point.name,
            distribution="unknown" if point.dist is None else point.dist.name,
            version="" if point.dist is None else point.dist.version,
            load=point.load,
        )
        for point in importlib.metadata.entry_points(group=group)
    ]
