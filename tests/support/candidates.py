"""Plugins as a registry finds them, for tests: declared in a line, loaded, and what came of it."""

from typing import Any, cast

import pytest
from marshmallow import Schema, fields

from jackfield import Context, Plugin
from jackfield.config import ConfigError, PluginSettings, Problem, load_settings
from jackfield.declaration.candidates import Candidate
from jackfield.dispatch.plugin_entry import Stage
from jackfield.dispatch.registry import Registry


class Strict(Schema):
    history = fields.Integer(required=True, strict=True)
    size = fields.Integer()


def plugin(name: str, *message_types: str, **options: Any) -> Plugin:
    made = Plugin(name, **options)
    for message_type in message_types or (f"{name}.send",):

        @made.handler(message_type)
        async def send(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
            return {"from": name}

    return made


def candidate(
    loaded: object, name: str | None = None, distribution: str = "jackfield-third"
) -> Candidate:
    """What an entry point leads to: a plugin, anything else, or an exception to raise."""

    def load() -> object:
        if isinstance(loaded, BaseException):
            raise loaded
        return loaded

    return Candidate(name or cast(Plugin, loaded).name, distribution, "1.0", load)


def settings(**plugins: Any) -> PluginSettings:
    return load_settings(None, {}, {"plugins": plugins}).plugins


def registry(*candidates: Candidate, **plugins: Any) -> Registry:
    return Registry(candidates, settings(**plugins))


def states(made: Registry) -> dict[str, str]:
    return {f"{entry.name} of {entry.source}": str(entry.state) for entry in made.entries}


def failure(made: Registry) -> tuple[Stage | None, str]:
    """Where the only plugin that failed did, and why."""
    (entry,) = made.failed
    assert entry not in made.loaded
    assert str(entry) == f"plugin {entry.name!r} of {entry.source}: {entry.reason}"
    return entry.stage, entry.reason


def problems(*candidates: Candidate, **plugins: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        registry(*candidates, **plugins)
    return caught.value.problems


def with_topics(name: str, *patterns: str, **options: Any) -> Plugin:
    made = plugin(name, **options)
    for pattern in patterns:
        made.topic(pattern)
    return made
