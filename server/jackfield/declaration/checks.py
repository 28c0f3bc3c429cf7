"""`Checks`: what a plugin declares is checked, and refused in words that name the plugin."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from marshmallow import Schema

from jackfield.config.fields import parse_duration
from jackfield.wire.errors import RegistrationError
from jackfield.wire.rates import Rate, parse_rate


class Checks:
    """The checks of one plugin's declarations; each raises `RegistrationError`.

    Every ``place`` is what the author wrote, such as ``reply= of 'chat.send'``.

    Args:
        plugin: The plugin's name.
    """

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin

    def wrong(self, what: str) -> RegistrationError:
        """Return the error to raise for what is wrong."""
        return RegistrationError(f"plugin {self.plugin!r}: {what}")

    def call(
        self,
        function: Callable[..., Any],
        place: str,
        arguments: Sequence[str],
        named: Sequence[str] = (),
    ) -> None:
        """Refuse what can't be awaited with these arguments."""
        if not inspect.iscoroutinefunction(function):
            raise self.wrong(
                f"{place} {function_name(function)!r} must be an 'async def' without 'yield'"
            )
        self.arguments(function, place, arguments, named)

    def arguments(
        self,
        function: Callable[..., Any],
        place: str,
        arguments: Sequence[str],
        named: Sequence[str] = (),
    ) -> None:
        """Refuse what can't be called with these arguments.

        Args:
            function: What the author wrote.
            place: Where.
            arguments: What it is given by position, however it calls it.
            named: What it is given by name after that.
        """
        try:
            inspect.signature(function).bind(*arguments, **dict.fromkeys(named))
        except (TypeError, ValueError) as exc:  # ValueError: a built-in that has no signature
            raise self.wrong(
                f"{place}, {function_name(function)!r}, must take "
                f"({', '.join([*arguments, *named])}): {exc}"
            ) from None

    def schema(self, schema: type[Schema] | Schema, place: str) -> Schema:
        """Return the schema's instance; refuse what is no schema of one object."""
        if isinstance(schema, type) and issubclass(schema, Schema):
            schema = schema()
        if not isinstance(schema, Schema):
            raise self.wrong(f"{place} must be a marshmallow Schema, not {schema!r}")
        if schema.many:
            raise self.wrong(f"{place} has many=True, but a payload is one object")
        return schema

    def scopes(self, scopes: Any, place: str) -> frozenset[str]:
        """Return the scopes as a set; refuse what is no list of strings."""
        if isinstance(scopes, str):
            raise self.wrong(f"{place} is a string: write [{scopes!r}]")
        listed = list(scopes) if isinstance(scopes, Iterable) else [scopes]
        if not all(isinstance(scope, str) for scope in listed):
            raise self.wrong(f"{place} must be a list of strings, not {scopes!r}")
        return frozenset(listed)

    def rate(self, rate: object, place: str) -> Rate:
        """Return the rate; refuse what `parse_rate` does."""
        try:
            return parse_rate(rate)
        except ValueError as exc:
            raise self.wrong(f"{place}: {exc}") from None

    def duration(self, duration: str | float, place: str) -> float:
        """Return the duration in seconds; refuse what `parse_duration` does."""
        try:
            return parse_duration(duration)
        except ValueError as exc:
            raise self.wrong(f"{place}: {exc}") from None


def function_name(function: Callable[..., Any]) -> str:
    """Return what to call a function in words."""
    return getattr(function, "__name__", repr(function))
