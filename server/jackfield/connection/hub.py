"""`Hub`: the open connections of this process, and how all of them are closed at shutdown."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from jackfield.wire.close_codes import CLOSE_REASONS, CloseCode
from jackfield.wire.errors import Error

from .connection import CLOSE_TIMEOUT, Connection

#: Seconds between checks whether all have ended: far below what is noticed in a shutdown.
_POLL_INTERVAL: Final = 0.02


class Hub:
    """The open connections of one process, by id."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        #: Whether the server is shutting down: no new connections, no new requests.
        self.draining = False
        #: Open sockets of clients that have yet to say who they are.
        self._unauthenticated: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        """Iterate over a copy, as connections come and go meanwhile."""
        return iter(list(self._connections.values()))

    @contextmanager
    def authenticating(self, connection: Connection) -> Iterator[None]:
        """Have a shutdown close a connection that is not authenticated, and so not in the hub."""
        self._unauthenticated.add(connection)
        try:
            yield
        finally:
            self._unauthenticated.discard(connection)

    def add(self, connection: Connection) -> None:
        """Enter an open connection."""
        self._connections[connection.id] = connection

    def discard(self, connection_id: str) -> None:
        """Remove a connection that has ended; no effect if it is not in the hub."""
        self._connections.pop(connection_id, None)

    async def drain(self, deadline: float) -> None:
        """Close all connections: send ``goodbye`` now, and close once their requests have ended.

        Streams are stopped at once, as they may never end; other requests have until the deadline.

        Args:
            deadline: Seconds that requests have to finish.
        """
        self.draining = True
        reason = Error("unavailable", "The server is shutting down.", retry_after=1.0)
        for connection in list(self._unauthenticated):
            connection.close(CloseCode.SHUTDOWN)
        for connection in self:
            connection.send_goodbye(CloseCode.SHUTDOWN, CLOSE_REASONS[CloseCode.SHUTDOWN])
            connection.stop_requests(reason, streams_only=True)
        await _wait_until(lambda: not any(connection.requests for connection in self), deadline)
        for connection in self:
            connection.stop_requests(reason)
        await asyncio.sleep(0)  # let the stopped requests be answered before the close
        for connection in self:
            connection.close(CloseCode.SHUTDOWN)
        await _wait_until(lambda: not self._connections, 2 * CLOSE_TIMEOUT)


async def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    # Polled: for an event every request would have to signal its end, for this one wait's sake.
    while loop.time() < end and not condition():  # noqa: ASYNC110
        await asyncio.sleep(_POLL_INTERVAL)
