"""What a topic gives its reader (events, gaps, presence, history), and how messages carry it."""

from dataclasses import dataclass
from typing import NamedTuple

from jackfield.wire.position import Position

from .message import Message


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a topic.

    Attributes:
        offset: Its number, one more than that of the event before it.
        payload: What it carries.
        epoch: The epoch of the topic that its offset belongs to.
    """

    offset: int
    payload: Message
    epoch: str

    @property
    def position(self) -> Position:
        """What to subscribe with as `since`, to get what came after this."""
        return Position(self.epoch, self.offset)


@dataclass(frozen=True, slots=True)
class Gap:
    """Events are missing here, and the server can't tell which: read the history, or start over.

    Attributes:
        epoch: The epoch of the topic after the gap.
        offset: The offset before that of the next event.
    """

    epoch: str
    offset: int

    @property
    def position(self) -> Position:
        """What to subscribe with as `since`, to get what came after this."""
        return Position(self.epoch, self.offset)


@dataclass(frozen=True, slots=True)
class Presence:
    """A change of who is present: one who `joined`, one who `left`, or all `members`.

    A member is an object of `user` and `info`. An anonymous member has no user but a `connection`.

    Attributes:
        joined: The member who has joined, else None.
        left: The member who has left, else None.
        members: All who are present, replacing what was known before, else None.
        count: How many they are, else None.
    """

    joined: Message | None = None
    left: Message | None = None
    members: list[Message] | None = None
    count: int | None = None


class History(NamedTuple):
    """A part of a topic's history.

    Attributes:
        position: The topic's current position.
        events: The events, the oldest first.
    """

    position: Position
    events: list[Event]


def read_position(reply: Message) -> Position:
    """Return the position, of a topic or of an event, that a reply tells."""
    return Position(reply["epoch"], reply["offset"])


def read_events(reply: Message) -> list[Event]:
    """Return the events of a reply."""
    return [
        Event(event["offset"], event["payload"], reply["epoch"])
        for event in reply.get("events", ())
    ]


def read_presence(message: Message) -> Presence:
    """Return what a message, or the payload of a reply, says about who is present."""
    return Presence(**{key: message.get(key) for key in ("joined", "left", "members", "count")})
