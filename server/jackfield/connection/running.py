"""What a connection has to know of a running request, and of its message type."""

import asyncio
from typing import Any, Protocol

from jackfield.wire.errors import Error
from jackfield.wire.rates import Rate


class MessageOptions:
    """The options of a message type, as far as a connection has to know them; see `Route`.

    Args:
        message_type: Its name.
        scopes: The scopes that a connection's identity must have, all of them.
        rate: How many of its messages a connection may send; None for no limit.
        streams: Whether its answer is a stream.
        concurrent: Whether several of a connection's messages may be handled at once.
        timeout: Seconds that its handler may take; None for no limit.
    """

    def __init__(
        self,
        message_type: str,
        *,
        scopes: frozenset[str],
        rate: Rate | None,
        streams: bool,
        concurrent: bool,
        timeout: float | None,
    ) -> None:
        self.type = message_type
        self.scopes = scopes
        self.rate = rate
        self.streams = streams
        self.concurrent = concurrent
        self.timeout = timeout


class RunningRequest(Protocol):
    """A message that is being handled; see `Request`."""

    @property
    def options(self) -> MessageOptions:
        """Its message type."""

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task its handler runs in, once it does."""

    def stop(self, reason: Error) -> bool:
        """Cancel its handler; see `Request.stop`."""
