"""One table of the configuration: gathered from every source, and checked by its schema.

A later source is stronger: file, environment, overrides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from marshmallow import Schema, ValidationError

from .environ import read_environ
from .problems import ConfigError, Problem, dotted_key
from .refusals import problems_in
from .sources import OVERRIDE, Layer


class CheckedSection(NamedTuple):
    """A section, checked by its schema.

    Attributes:
        values: What its schema made of it; where there are problems, of the rest.
        layer: What was validated.
        problems: What is wrong with it.
    """

    values: Mapping[str, Any]
    layer: Layer
    problems: list[Problem]


@dataclass(frozen=True, slots=True, repr=False)
class Section:
    """A table of the configuration as its sources give it, not yet validated.

    Attributes:
        path: ``("plugins", "chat")`` for ``[plugins.chat]``.
        file: What the file says within that table.
        environ: The environment variables that name it.
        overrides: What is stronger than both.
    """

    path: tuple[str, ...]
    file: Layer = field(default_factory=Layer)
    environ: Mapping[str, str] = field(default_factory=dict)
    overrides: Layer = field(default_factory=Layer)

    @classmethod
    def empty(cls, plugin: str) -> "Section":
        """Return the section of a plugin that the configuration does not mention."""
        return cls(("plugins", plugin))

    @property
    def place(self) -> str:
        """Where it stands, or where the first thing that makes it stands."""
        if self.path in self.file.places or not (self.environ or self.overrides.values):
            return self.file.place(self.path)
        return next(iter(self.environ), OVERRIDE)

    def load(self, schema: Schema | None) -> Mapping[str, Any]:
        """Return what a schema makes of the section.

        Args:
            schema: What it must be; None if it must be empty.

        Returns:
            What the schema loads.

        Raises:
            ConfigError: It is not valid: all the problems, each with its place.
        """
        loaded = self.check(schema)
        if loaded.problems:
            raise ConfigError(loaded.problems)
        return loaded.values

    def check(self, schema: Schema | None) -> CheckedSection:
        """Check the section by a schema, and report the problems instead of raising them.

        Args:
            schema: What it must be; None if it must be empty.
        """
        schema = Schema() if schema is None else schema
        environ, problems = read_environ(self.environ, schema, self.path)
        layer = self.file.under(environ).under(self.overrides)
        try:
            return CheckedSection(schema.load(layer.values), layer, problems)
        except ValidationError as exc:
            faults = problems_in(exc.messages, schema, self.path, layer.values, layer)
            valid = exc.valid_data if isinstance(exc.valid_data, dict) else {}
            return CheckedSection(valid, layer, [*problems, *faults])

    def __repr__(self) -> str:
        # Without the values: which of them are secret only the schema knows.
        return f"<Section {dotted_key(self.path)}>"
