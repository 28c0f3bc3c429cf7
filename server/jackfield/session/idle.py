"""Close clients that have been idle for too long."""

from collections.abc import Sequence

from jackfield.connection.connection import Connection
from jackfield.wire.close_codes import CloseCode


class IdleClients:
    """Since when each client of a node has been idle.

    Args:
        timeout: Seconds after which an idle client is closed; 0 for never.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        #: The `activity` of each connection at the last check, and since when it is the same.
        self._seen: dict[str, tuple[object, float]] = {}

    def close_idle(self, connections: Sequence[Connection], now: float) -> None:
        """Close who has sent no message, and had none being handled, for the timeout.

        Args:
            connections: All connections of the node.
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
