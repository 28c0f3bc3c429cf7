"""Join a topic in two steps: read where it stands, then add the member behind the reply."""

from typing import Any

from jackfield.connection.connection import Connection
from jackfield.store.topics import Recovery
from jackfield.wire.position import Position

from .audience import Audience
from .membership import MEMBERSHIP


class Join:
    """A connection that is about to join an audience; made by `prepare_join`.

    Args:
        audience: The audience.
        connection: The connection.

    Attributes:
        recovery: Where the topic stands, and what the connection has missed.
        presence_version: The version of the presence that the connection joined with.
    """

    __slots__ = ("_has_ended", "audience", "connection", "presence_version", "recovery")

    recovery: Recovery

    def __init__(self, audience: Audience, connection: Connection) -> None:
        self.audience = audience
        self.connection = connection
        self.presence_version = 0
        self._has_ended = False
        audience.begin_join()

    @property
    def topic(self) -> str:
        """The topic's name."""
        return self.audience.topic

    @property
    def position(self) -> Position:
        """Where the topic stands; what comes behind that is sent once it is joined."""
        return Position(self.recovery.epoch, self.recovery.offset)

    def activate(self) -> None:
        """Make the connection a member, right after it was told where the topic stands."""
        if self._has_ended:
            return
        membership = self.connection[MEMBERSHIP]
        if membership.has_left:
            self.abandon()
            return
        self._has_ended = True
        audience, connection = self.audience, self.connection
        if connection not in audience.members:
            audience.members.add(connection)
            membership.joined.append(audience)
        events, recovery = audience.events, self.recovery
        if recovery.epoch == events.epoch and events.has_since(recovery.offset):
            events.admit(connection, recovery.offset)
        else:
            connection.refuse(None, audience.gap.loss())
        if audience.presence is not None:
            audience.presence.feed.admit(connection, self.presence_version)
        audience.end_join()

    def abandon(self) -> None:
        """Leave the connection out; no effect after `activate`."""
        if self._has_ended:
            return
        self._has_ended = True
        audience = self.audience
        if audience.presence is not None and self.connection not in audience.members:
            audience.presence.remove(self.connection)
        audience.end_join()


async def prepare_join(
    audience: Audience,
    connection: Connection,
    since: Position | None,
    info: dict[str, Any] | None = None,
    *,
    max_bytes: int,
    replay: bool = False,
) -> Join:
    """Prepare for a connection to become a member of a topic.

    Args:
        audience: The topic's members.
        connection: The connection.
        since: Up to where it knows the topic already; None if it doesn't.
        info: What others see of it, beside who it is.
        max_bytes: Bytes of the events it has missed, at most.
        replay: Whether it has missed all that are kept.

    Returns:
        Where the topic stands; what comes behind that is sent once `Join.activate` is called.

    Raises:
        Error: ``unavailable``: Redis is away.
    """
    join = Join(audience, connection)
    try:
        await audience.open()
        if audience.presence is not None:
            join.presence_version = await audience.presence.add(connection, info)
        join.recovery = await audience.read(since, max_bytes, replay=replay)
    except BaseException:
        join.abandon()
        raise
    return join
