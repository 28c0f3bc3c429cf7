"""`Handler`: the declaration of one message type."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from marshmallow import Schema

from jackfield.wire.rates import Rate


class HandlerKind(Enum):
    """How a handler is run; its function's kind decides."""

    ASYNC = "async"
    THREAD = "thread"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Handler:
    """The declaration of one message type.

    Attributes:
        type: The message type.
        function: The author's function.
        kind: How it is run.
        schema: The schema of its payload.
        reply: The schema of its reply, or of each chunk of a stream; None if it isn't declared.
        scopes: The scopes that a connection's identity must have, all of them.
        rate: How many of its messages a connection may send; None for no limit.
        dump: Whether its replies and chunks are made by the `dump` of ``reply``.
        timeout: Seconds that it may take; None for the server's default (no limit for a stream).
        concurrent: Whether a connection's messages of this type may run side by side.
    """

    type: str
    function: Callable[..., Any]
    kind: HandlerKind
    schema: Schema
    reply: Schema | None
    dump: bool
    scopes: frozenset[str]
    rate: Rate | None
    timeout: float | None
    concurrent: bool

    @property
    def doc(self) -> str:
        """The handler's docstring: its documentation for those who call it."""
        return inspect.getdoc(self.function) or ""
