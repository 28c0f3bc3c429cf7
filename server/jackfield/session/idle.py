"""Close clients that have wanted nothing for too long."""

from collections.abc import Sequence

from jackfield.agents.instance import REGISTRATION
from jackfield.connection.connection import Connection
from jackfield.topics.membership import MEMBERSHIP
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
        """Close who has sent no message and waited for nothing, for the timeout.

        Pings are no messages. Whoever has a request that runs, has subscribed to a topic or is
        registered as an agent waits for something.

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
            if activity != last or _waits(connection):
                since = now
            elif now - since >= self._timeout:
                connection.close(CloseCode.OK, "idle")
            self._seen[connection.id] = (activity, since)


def _waits(connection: Connection) -> bool:
    """Whether a client waits for something that it has asked for."""
    membership = connection[MEMBERSHIP]
    return (
        bool(connection.requests)
        or len(membership.joined) > membership.given
        or connection[REGISTRATION].instance is not None
    )
