"""The connections of this process: who is here, and how they are all sent home."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from jackfield.wire.close_codes import CLOSE_REASONS, CloseCode
from jackfield.wire.errors import Error

from .connection import CLOSE_TIMEOUT, Connection

#: Seconds between looks at whether all is done: far below what anyone would notice in a shutdown.
_LOOK: Final = 0.02


class Hub:
    """The open connections of one process, by id."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        #: Whether everybody is being sent home: no new connections, no new requests.
        self.draining = False
        #: Those that have not said who they are.
        self._strangers: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        """Over a copy: connections come and go meanwhile."""
        return iter(list(self._connections.values()))

    @contextmanager
    def waiting(self, connection: Connection) -> Iterator[None]:
        """A connection that is none yet: until it is, it can only be sent home with the others."""
        self._strangers.add(connection)
        try:
            yield
        finally:
            self._strangers.discard(connection)

    def add(self, connection: Connection) -> None:
        """A connection is open."""
        self._connections[connection.id] = connection

    def discard(self, connection_id: str) -> None:
        """A connection has ended, or was never opened."""
        self._connections.pop(connection_id, None)

    async def drain(self, deadline: float) -> None:
        """Send everybody home: goodbye now, a close once what runs has ended.

        Streams never end by themselves, so they are stopped at once; other requests have until
        the deadline.

        Args:
            deadline: Seconds that requests have to finish.
        """
        self.draining = True
        reason = Error("unavailable", "The server is shutting down.", retry_after=1.0)
        for stranger in list(self._strangers):
            stranger.close(CloseCode.SHUTDOWN)
        for connection in self:
            connection.say_goodbye(CloseCode.SHUTDOWN, CLOSE_REASONS[CloseCode.SHUTDOWN])
            connection.stop_requests(reason, streams_only=True)
        await _wait_until(lambda: not any(connection.requests for connection in self), deadline)
        for connection in self:
            connection.stop_requests(reason)
        await asyncio.sleep(0)  # let the stopped be answered before the close
        for connection in self:
            connection.close(CloseCode.SHUTDOWN)
        await _wait_until(lambda: not self._connections, 2 * CLOSE_TIMEOUT)


async def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    # Looking, because every request would have to signal its end for this one wait's sake.
    while loop.time() < end and not condition():  # noqa: ASYNC110
        await asyncio.sleep(_LOOK)
