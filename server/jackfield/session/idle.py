"""Clients that are connected and do nothing: who has been idle for too long is closed."""

from collections.abc import Sequence

from jackfield.connection.connection import Connection
from jackfield.wire.close_codes import CloseCode


class IdleClients:
    """How long each client of a node has done nothing.

    Args:
        timeout: Seconds after which an idle client is closed; 0 for never.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        #: What each connection had done at the last look, and since when it has done no more.
        self._seen: dict[str, tuple[object, float]] = {}

    def close(self, connections: Sequence[Connection], now: float) -> None:
        """Close who has sent no message, and has none being handled, for too long.

        Args:
            connections: All that there are.
            now: The event loop's time, in seconds.
        """
        if not self._timeout:
            return
        before, self._seen = self._seen, {}
        for connection in connections:
            activity = connection.activity
            last, since = before.get(connection.id, (None, now))
            if activity != last or connection.requests:
                since = now
            elif now - since >= self._timeout:
                connection.close(CloseCode.OK, "idle")
            self._seen[connection.id] = (activity, since)
