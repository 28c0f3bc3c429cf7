"""A connection on its way into a topic: what it is told of it first, and what comes behind that."""

from typing import TYPE_CHECKING

from jackfield.store.topics import Recovery

if TYPE_CHECKING:
    from jackfield.connection.connection import Connection

    from .audience import Audience


class Join:
    """A connection on its way into an audience.

    Args:
        audience: The audience.
        connection: The connection.
    """

    __slots__ = ("_done", "audience", "connection", "presence", "read")

    read: Recovery

    def __init__(self, audience: "Audience", connection: "Connection") -> None:
        self.audience = audience
        self.connection = connection
        #: The version of the presence that the connection joined with.
        self.presence = 0
        self._done = False
        audience.begin_use()

    def activate(self) -> None:
        """Make the connection a member, once it has been told where the topic stands."""
        if self._done:
            return
        if self.connection.has_left:
            self.abandon()
            return
        self._done = True
        audience, connection = self.audience, self.connection
        if connection not in audience.members:
            audience.members.add(connection)
            connection.topics.append(audience)
        events, read = audience.events, self.read
        if read.epoch == events.epoch and events.has_since(read.offset):
            events.admit(connection, read.offset)
        else:
            connection.refuse(None, audience.gap())
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
