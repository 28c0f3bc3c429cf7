"""A connection on its way into a topic: what it is told of it first, and what comes behind that."""

from typing import Any

from jackfield.connection.connection import Connection
from jackfield.store.topics import Recovery
from jackfield.wire.position import Position

from .audience import Audience
from .membership import MEMBERSHIP


class Join:
    """A connection on its way into an audience.

    Args:
        audience: The audience.
        connection: The connection.
    """

    __slots__ = ("_done", "audience", "connection", "presence", "read")

    read: Recovery

    def __init__(self, audience: Audience, connection: Connection) -> None:
        self.audience = audience
        self.connection = connection
        #: The version of the presence that the connection joined with.
        self.presence = 0
        self._done = False
        audience.begin_use()

    @property
    def topic(self) -> str:
        """The name of the topic."""
        return self.audience.topic

    @property
    def position(self) -> Position:
        """Where the topic stands; what comes behind that is sent once it is joined."""
        return Position(self.read.epoch, self.read.offset)

    def activate(self) -> None:
        """Make the connection a member, once it has been told where the topic stands."""
        if self._done:
            return
        membership = self.connection[MEMBERSHIP]
        if membership.has_left:
            self.abandon()
            return
        self._done = True
        audience, connection = self.audience, self.connection
        if connection not in audience.members:
            audience.members.add(connection)
            membership.joined.append(audience)
        events, read = audience.events, self.read
        if read.epoch == events.epoch and events.has_since(read.offset):
            events.admit(connection, read.offset)
        else:
            connection.refuse(None, audience.gap.loss())
        if audience.presence is not None:
            audience.presence.feed.admit(connection, self.presence)
        audience.end_use()

    def abandon(self) -> None:
        """The connection does not become a member; no effect once it has."""
        if self._done:
            return
        self._done = True
        audience = self.audience
        if audience.presence is not None and self.connection not in audience.members:
            audience.presence.depart(self.connection)
        audience.end_use()


async def begin_join(
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
        since: Up to where it knows the topic already, if it does.
        info: What others see of it.
        max_bytes: Of the events it has missed.
        replay: Whether those are all there are.

    Returns:
        Where the topic stands; what comes behind that is sent once `Join.activate` is called.

    Raises:
        Error: ``unavailable``: Redis is away.
    """
    join = Join(audience, connection)
    try:
        await audience.open()
        if audience.presence is not None:
            join.presence = await audience.presence.attend(connection, info)
        join.read = await audience.read(since, max_bytes, replay=replay)
    except BaseException:
        join.abandon()
        raise
    return join
