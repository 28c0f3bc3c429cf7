"""What topics keep of a connection: those it is in, and what it publishes."""

import asyncio
from typing import Final, Protocol

from jackfield.connection.connection import Connection
from jackfield.connection.request import AfterReply
from jackfield.connection.slot import Slot
from jackfield.wire.position import Position
from jackfield.wire.rates import TokenBucket


class JoinedTopic(Protocol):
    """A topic that the connection is in; see `Audience`."""

    @property
    def topic(self) -> str:
        """The topic's name."""

    def leave(self, connection: Connection) -> None:
        """Remove the connection from the members."""


class PendingJoin(AfterReply, Protocol):
    """A topic that the connection is about to join; see `Join`."""

    @property
    def topic(self) -> str:
        """The topic's name."""

    @property
    def position(self) -> Position:
        """Where the topic stands; what comes behind that is sent once it is joined."""


class Membership:
    """The topics of one connection.

    Attributes:
        joined: Those it is in.
        given: How many of these the server has it join; they don't count against its limit.
        early_joins: Those that hooks have it join before the welcome; None once that is sent.
        has_left: Whether the connection has ended, and joins no more.
        publish_lock: Held while one of its publications is prepared; made for the first.
        publish_bucket: How much it may still publish; made for the first.
    """

    __slots__ = (
        "early_joins",
        "given",
        "has_left",
        "joined",
        "publish_bucket",
        "publish_lock",
    )

    def __init__(self) -> None:
        self.joined: list[JoinedTopic] = []
        self.given = 0
        self.early_joins: list[PendingJoin] | None = []
        self.has_left = False
        self.publish_lock: asyncio.Lock | None = None
        self.publish_bucket: TokenBucket | None = None


MEMBERSHIP: Final = Slot("topics", Membership)
