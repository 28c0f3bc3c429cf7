"""One message type of a plugin, as declared."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from marshmallow import Schema

from jackfield.wire.rates import Rate


class HandlerKind(Enum):
    """How a handler is run, told from how it is written."""

    ASYNC = "async"
    THREAD = "thread"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Handler:
    """One message type of a plugin, as declared.

    Attributes:
        type: The message type.
        function: What the author wrote.
        kind: How it is run.
        schema: What its payload must be.
        reply: What its reply, or each chunk of a stream, is; None where it isn't declared.
        scopes: What a connection's identity must all have.
        rate: How many of a connection's messages it takes; None for as many as come.
        dump: Whether what it answers goes through ``reply``'s `dump`.
        timeout: Seconds it may take; None for the server's default (no limit for a stream).
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
