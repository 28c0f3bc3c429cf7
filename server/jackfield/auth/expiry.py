"""`Expiry`: warn clients before their identities run out, and close their connections after.

One timer serves all connections of a node. It is for the next that is due.
"""

import asyncio
import heapq
import time
from typing import Final

from jackfield.connection.connection import Connection
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error

#: Seconds after which to check at the latest: the clock that tokens go by may have been set.
_MAX_WAIT: Final = 30.0
#: Deadlines of connections that have ended are removed once they are half of all, and more than
#: this: for fewer it is not worth going through all.
_MIN_DROPPED: Final = 256


class Deadline:
    """When a connection is to be warned, or closed."""

    __slots__ = ("at", "connection", "is_close")

    def __init__(self, connection: Connection, at: float, *, is_close: bool) -> None:
        self.connection: Connection | None = connection
        #: Seconds since the epoch.
        self.at = at
        #: Whether to close it; else to warn.
        self.is_close = is_close

    def __lt__(self, other: "Deadline") -> bool:
        return self.at < other.at


class Expiry:
    """The deadlines of one node's connections.

    Args:
        warn_before: Seconds before an identity runs out at which its client is warned; 0 for never.
        grace: Seconds after it has run out at which the connection is closed.
    """

    def __init__(self, *, warn_before: float, grace: float) -> None:
        self._warn_before = warn_before
        self._grace = grace
        self._heap: list[Deadline] = []
        self._deadlines: dict[Connection, Deadline] = {}
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, connection: Connection) -> None:
        """Set the deadline of a connection by its identity, in place of the one it had."""
        self.forget(connection)
        expires_at = connection.identity.expires_at
        if expires_at is None:
            return
        if self._warn_before:
            self._add(connection, expires_at - self._warn_before, is_close=False)
        else:
            self._add(connection, expires_at + self._grace, is_close=True)

    def forget(self, connection: Connection) -> None:
        """Remove the deadline of a connection, if it has one."""
        deadline = self._deadlines.pop(connection, None)
        if deadline is None:
            return
        deadline.connection = None
        self._dropped += 1
        if self._dropped > _MIN_DROPPED and self._dropped > len(self._heap) // 2:
            self._heap = [each for each in self._heap if each.connection is not None]
            heapq.heapify(self._heap)
            self._dropped = 0

    def close(self) -> None:
        """Forget all deadlines."""
        self._heap.clear()
        self._deadlines.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _add(self, connection: Connection, at: float, *, is_close: bool) -> None:
        deadline = self._deadlines[connection] = Deadline(connection, at, is_close=is_close)
        heapq.heappush(self._heap, deadline)
        if self._heap[0] is deadline:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            wait = min(max(self._heap[0].at - time.time(), 0), _MAX_WAIT)
            self._timer = asyncio.get_running_loop().call_later(wait, self._check)

    def _check(self) -> None:
        now = time.time()
        while self._heap and self._heap[0].at <= now:
            deadline = heapq.heappop(self._heap)
            connection = deadline.connection
            if connection is None:
                self._dropped -= 1
            elif deadline.is_close:
                del self._deadlines[connection]
                connection.close(CloseCode.TOKEN_EXPIRED)
            else:
                self._warn(connection)
        self._arm()

    def _warn(self, connection: Connection) -> None:
        expires_at = connection.identity.expires_at
        assert expires_at is not None  # noqa: S101 - it has a deadline
        error = Error(
            "token_expired",
            "The token runs out: send auth.refresh with a new one.",
            retryable=True,
            expires_at=expires_at,
        )
        connection.refuse(None, error)
        self._add(connection, expires_at + self._grace, is_close=True)
