"""A context for the built-in handlers: it keeps what they ask of it, and answers as it is told."""

from types import SimpleNamespace
from typing import Any

import pytest
from marshmallow import Schema, ValidationError

Call = tuple[str, tuple[Any, ...], dict[str, Any]]


class AskedContext:
    """What a handler is called with.

    Args:
        answer: What each method answers.
        attributes: What else it has, by name.
    """

    def __init__(self, answer: Any = None, **attributes: Any) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.agents = SimpleNamespace()
        vars(self).update(attributes)

    def method(self, name: str) -> Any:
        """A method that answers at once."""

        def called(*args: Any, **more: Any) -> Any:
            self.calls.append((name, args, more))
            return self.answer

        return called

    def coroutine(self, name: str) -> Any:
        """A method that is awaited."""

        async def called(*args: Any, **more: Any) -> Any:
            self.calls.append((name, args, more))
            return self.answer

        return called


def load(schema: type[Schema], **payload: Any) -> dict[str, Any]:
    """Load a payload as the server does."""
    loaded: dict[str, Any] = schema().load(payload)
    return loaded


def faults(schema: type[Schema], **payload: Any) -> Any:
    """What is wrong with a payload, by its fields."""
    with pytest.raises(ValidationError) as refused:
        schema().load(payload)
    return refused.value.messages
