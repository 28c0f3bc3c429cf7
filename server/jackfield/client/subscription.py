"""A topic as the Python client follows it: where it stands, and what it brings, in order."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from jackfield.wire.position import Position

from .errors import ConnectionClosed, EventsLost, RequestError
from .inbox import Inbox
from .link import Link, result
from .socket import Message


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a topic.

    Attributes:
        offset: Its number, one more than that of the event before it.
        payload: What it carries.
        epoch: Which life of the topic its offset belongs to.
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
        epoch: Which life of the topic goes on from here.
        offset: What the next event follows on.
    """

    epoch: str
    offset: int

    @property
    def position(self) -> Position:
        """What to subscribe with as `since`, to get what came after this."""
        return Position(self.epoch, self.offset)


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is there: one who `joined`, one who `left`, or all `members`.

    A member is an object of `user` and `info`, of which an anonymous one has no user but a
    `connection`.

    Attributes:
        joined: Who has come, else None.
        left: Who has gone, else None.
        members: All who are there, in the place of what was known before, else None.
        count: How many they are, else None.
    """

    joined: Message | None = None
    left: Message | None = None
    members: list[Message] | None = None
    count: int | None = None


class History(NamedTuple):
    """A part of a topic's history.

    Attributes:
        position: Where the topic stands now.
        events: The events, the oldest first.
    """

    position: Position
    events: list[Event]


class Subscription:
    """A topic subscribed to for the time of an `async with`; `Client.subscribe` makes it.

    To iterate over it gives what the topic brings, in the order it came: first what `since`
    recovers, then what is live. Between two events nothing is missing unless there is a `Gap`, and
    none comes twice. The iteration goes on after a `Gap`, and may be taken up again after an
    exception. It ends when the `async with` is left or this client closes the connection.

    A slow reader costs nobody anything. What waits is bounded (`buffer_bytes`); once that has been
    read, the subscription is made anew from there, so that the server's history fills what did not
    fit, and a `Gap` stands for it if that is too short.

    Attributes:
        topic: Its name.
        position: That of the last event, or gap, handed out: `since` of a later subscription, on
            any connection. Until there is one, it is what this subscription began with.
        recovered: Whether the server still had all that came after `since`; None without one. If
            not, the iteration begins with a `Gap`.
    """

    position: Position

    def __init__(
        self, link: Link, topic: str, since: Position | None, timeout: float | None
    ) -> None:
        self.topic = topic
        self.recovered: bool | None = None
        self._link = link
        self._since = since
        self._timeout = timeout
        self._kinds: set[str] = set()
        self._inbox = _TopicInbox(link, topic, self._kinds)
        self._ready: deque[Event | Presence | Gap] = deque()
        self._behind = False

    async def __aenter__(self) -> Self:
        if self.topic in self._link.subscribed:
            raise ValueError(f"This connection is subscribed to {self.topic!r} already.")
        self._link.subscribed.add(self.topic)
        if self._since is not None:
            self.position = self._since
        try:
            self.recovered = await self._join(self._since)
        except RequestError:  # there is nothing to leave
            self._link.subscribed.discard(self.topic)
            raise
        except BaseException:  # whether the server has joined it, nobody knows
            self._leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event | Presence | Gap:
        while not self._ready:
            try:
                if self._inbox.left:
                    raise StopAsyncIteration
                if self._behind:
                    await self._catch_up()
                else:
                    self._take(await self._inbox.get())
            except EventsLost:
                self._behind = True
            except ConnectionClosed:
                if self._link.leaving:
                    raise StopAsyncIteration from None
                raise
        item = self._ready.popleft()
        if not isinstance(item, Presence):
            self.position = item.position
        return item

    async def _join(self, since: Position | None) -> bool | None:
        """Subscribe, and have ready what came since; returns whether that is all of it."""
        payload: dict[str, Any] = {"topic": self.topic}
        if since is not None:
            payload["since"] = since._asdict()
        self._inbox = _TopicInbox(self._link, self.topic, self._kinds)
        async with (
            asyncio.timeout(self._timeout),
            self._link.exchange("topic.subscribe", payload, self._inbox) as inbox,
        ):
            reply = result(await inbox.get())
        if since is None:
            self.position = read_position(reply)
            return None
        events = read_events(reply)
        offsets = [since.offset, *(event.offset for event in events)]
        # Looked at, and not only believed: where one is missing there must be a gap.
        whole = reply["recovered"] and offsets == [*range(since.offset, reply["offset"] + 1)]
        self._ready.extend(events if whole else [Gap(*read_position(reply))])
        return bool(whole)

    async def _catch_up(self) -> None:
        """Subscribe anew from the last event that was handed out."""
        await self._join(self.position)
        if "presence" in self._kinds:  # it has no history: what was dropped of it is not to be had
            reply = await self._link.request("topic.presence", {"topic": self.topic}, self._timeout)
            self._ready.append(read_presence(reply))
        self._behind = False

    def _take(self, message: Message) -> None:
        """Make of a message what it is for the reader, who has been given all before it."""
        match message:
            case {"type": "event", "offset": offset, "payload": payload}:
                due = self.position.offset + 1
                if offset == due:
                    self._ready.append(Event(offset, payload, self.position.epoch))
                self._behind = offset > due  # and what is not due any more came before
            case {"type": "error", "error": {"epoch": epoch, "offset": offset}}:
                self._ready.append(Gap(epoch, offset))
            case {"type": "presence"}:
                self._ready.append(read_presence(message))

    def _leave(self) -> None:
        self._link.subscribed.discard(self.topic)
        self._inbox.leave()


class _TopicInbox(Inbox):
    """The answer to one `topic.subscribe`, and behind it what the topic brings.

    Only the answer makes it the topic's inbox, at once and in the order of the wire: what comes
    before belongs to who was there before, and what comes after is not missed.

    Args:
        link: Where it comes from.
        topic: The topic's name.
        kinds: What types of messages come, to be added to, those that are dropped too.
    """

    def __init__(self, link: Link, topic: str, kinds: set[str]) -> None:
        super().__init__(link.buffer_bytes, EventsLost)
        self._kinds = kinds
        self.left = False
        self._link = link
        self._topic = topic

    def put(self, message: Message, size: int) -> None:
        if self.left:  # what still comes is nobody's, until the server has left the topic too
            if message.get("id") is not None:
                self._stand_aside()
            return
        self._kinds.add(message["type"])
        if message["type"] == "reply":
            self._link.topics[self._topic] = self
        super().put(message, size)

    def leave(self) -> None:
        """Unsubscribe, unless the server has subscribed this connection by itself."""
        self.left = True
        self.end(StopAsyncIteration())
        if self._topic in self._link.given_topics:
            self._stand_aside()
        elif self._link.closed is None:
            self._link.topics[self._topic] = self
            self._link.post("topic.unsubscribe", {"topic": self._topic}, self)

    def _stand_aside(self) -> None:
        if self._link.topics.get(self._topic) is self:
            del self._link.topics[self._topic]


def read_position(reply: Message) -> Position:
    """Where a topic, or an event of it, stands by a reply."""
    return Position(reply["epoch"], reply["offset"])


def read_events(reply: Message) -> list[Event]:
    """The events of a reply."""
    return [
        Event(event["offset"], event["payload"], reply["epoch"])
        for event in reply.get("events", ())
    ]


def read_presence(message: Message) -> Presence:
    """What a message, or a reply, says about who is there."""
    return Presence(**{key: message.get(key) for key in ("joined", "left", "members", "count")})
