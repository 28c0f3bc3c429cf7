"""What a topic gives its reader (events, gaps, presence, history), and how messages carry it."""

from dataclasses import dataclass
from typing import NamedTuple

from jackfield.wire.position import Position

from .errors import RequestError
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
    def id(self) -> str:
        """Epoch and offset in one text: a key for lists, the same as the JavaScript client's."""
        return f"{self.epoch}:{self.offset}"

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
    """Return the position, of a topic or of an event, that a reply tells.

    Raises:
        RequestError: It tells none.
    """
    match reply:
        case {"epoch": str(epoch), "offset": int(offset)}:
            return Position(epoch, offset)
    raise _malformed("position")


def read_events(reply: Message) -> list[Event]:
    """Return the events of a reply.

    Raises:
        RequestError: They lack something.
    """
    try:
        return [
            Event(event["offset"], event["payload"], reply["epoch"])
            for event in reply.get("events", ())
        ]
    except (TypeError, KeyError):
        raise _malformed("events") from None


def read_presence(message: Message) -> Presence:
    """Return what a message, or the payload of a reply, says about who is present."""
    return Presence(**{key: message.get(key) for key in ("joined", "left", "members", "count")})


def _malformed(what: str) -> RequestError:
    """Return what is raised for a reply that is not as the protocol says."""
    return RequestError({"code": "internal", "message": f"The reply has no valid {what}."})
