"""A subscription of the Python client: the events of one topic in order, gaps marked."""

import asyncio
from collections import deque
from typing import Any, Self

from jackfield.wire.position import Position

from .errors import ConnectionClosed, EventsLost, RequestError
from .events import Event, Gap, Presence, read_events, read_position, read_presence
from .inbox import Inbox
from .message import Message
from .multiplexer import Multiplexer, result


class Subscription:
    """A topic subscribed to for the time of an `async with`; `Client.subscribe` makes it.

    Iterating over it gives the events and presence of the topic in order: first the events that
    `since` recovers, then those that are published from now on. Between two events none is missing
    unless there is a `Gap`, and none comes twice. The iteration continues after a `Gap`, and can be
    resumed after an exception. It ends when the `async with` is left or this client closes the
    connection.

    A slow reader delays nobody. Up to `buffer_bytes` of events wait for it, and those that do not
    fit are dropped. Once the reader has read the others, the subscription is renewed from there:
    the server's history gives what was dropped, or a `Gap` stands for what it no longer has.

    Attributes:
        topic: Its name.
        position: The position of the last event or gap that the iteration gave: `since` of a later
            subscription, on any connection. Until there is one, it is where the subscription began.
        recovered: Whether the server still had all that came after `since`; None without one. If
            not, the iteration begins with a `Gap`.
    """

    position: Position

    def __init__(
        self, multiplexer: Multiplexer, topic: str, since: Position | None, timeout: float | None
    ) -> None:
        self.topic = topic
        self.recovered: bool | None = None
        self._multiplexer = multiplexer
        self._since = since
        self._timeout = timeout
        self._received_types: set[str] = set()
        self._inbox = _TopicInbox(multiplexer, topic, self._received_types)
        self._items: deque[Event | Presence | Gap] = deque()
        self._behind = False

    async def __aenter__(self) -> Self:
        if self.topic in self._multiplexer.subscribed:
            raise ValueError(f"This connection is subscribed to {self.topic!r} already.")
        self._multiplexer.subscribed.add(self.topic)
        if self._since is not None:
            self.position = self._since
        try:
            self.recovered = await self._subscribe(self._since)
        except RequestError:  # there is nothing to unsubscribe from
            self._multiplexer.subscribed.discard(self.topic)
            raise
        except BaseException:  # the server may have subscribed this connection
            self._unsubscribe()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._unsubscribe()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event | Presence | Gap:
        while not self._items:
            try:
                if self._inbox.unsubscribed:
                    raise StopAsyncIteration
                if self._behind:
                    await self._catch_up()
                else:
                    self._read(await self._inbox.get())
            except EventsLost:
                self._behind = True
            except ConnectionClosed:
                if self._multiplexer.closed_here:
                    raise StopAsyncIteration from None
                raise
        item = self._items.popleft()
        if not isinstance(item, Presence):
            self.position = item.position
        return item

    async def _subscribe(self, since: Position | None) -> bool | None:
        """Subscribe, and recover what came since; return whether nothing of it is missing."""
        payload: dict[str, Any] = {"topic": self.topic}
        if since is not None:
            payload["since"] = since._asdict()
        self._inbox = _TopicInbox(self._multiplexer, self.topic, self._received_types)
        async with (
            asyncio.timeout(self._timeout),
            self._multiplexer.exchange("topic.subscribe", payload, self._inbox) as inbox,
        ):
            reply = result(await inbox.get())
        if since is None:
            self.position = read_position(reply)
            return None
        events = read_events(reply)
        offsets = [since.offset, *(event.offset for event in events)]
        # The offsets are checked too: where an event is missing there must be a gap.
        complete = reply["recovered"] and offsets == [*range(since.offset, reply["offset"] + 1)]
        self._items.extend(events if complete else [Gap(*read_position(reply))])
        return bool(complete)

    async def _catch_up(self) -> None:
        """Subscribe again from the last event that the iteration gave."""
        await self._subscribe(self.position)
        if "presence" in self._received_types:  # it has no history: read who is there now
            reply = await self._multiplexer.request(
                "topic.presence", {"topic": self.topic}, self._timeout
            )
            self._items.append(read_presence(reply))
        self._behind = False

    def _read(self, message: Message) -> None:
        """Turn a message into an item; the reader has been given all items before it."""
        match message:
            case {"type": "event", "offset": offset, "payload": payload}:
                due = self.position.offset + 1
                if offset == due:
                    self._items.append(Event(offset, payload, self.position.epoch))
                self._behind = offset > due  # an earlier one was given already
            case {"type": "error", "error": {"epoch": epoch, "offset": offset}}:
                self._items.append(Gap(epoch, offset))
            case {"type": "presence"}:
                self._items.append(read_presence(message))

    def _unsubscribe(self) -> None:
        self._multiplexer.subscribed.discard(self.topic)
        self._inbox.unsubscribe()


class _TopicInbox(Inbox):
    """The reply to one `topic.subscribe`, followed by the messages of the topic.

    It becomes the topic's inbox as the reply arrives: messages before the reply are for the former
    subscriber, and none after it is missed.

    Args:
        multiplexer: What delivers the messages.
        topic: The topic's name.
        received_types: A set that gets the type of each message, of dropped ones too.
    """

    def __init__(self, multiplexer: Multiplexer, topic: str, received_types: set[str]) -> None:
        super().__init__(multiplexer.buffer_bytes, EventsLost)
        self._received_types = received_types
        self.unsubscribed = False
        self._multiplexer = multiplexer
        self._topic = topic

    def put(self, message: Message, size: int) -> None:
        if self.unsubscribed:  # drop what still arrives until the server has answered
            if message.get("id") is not None:
                self._remove()
            return
        self._received_types.add(message["type"])
        if message["type"] == "reply":
            self._multiplexer.topics[self._topic] = self
        super().put(message, size)

    def unsubscribe(self) -> None:
        """Unsubscribe, unless the server has subscribed this connection by itself."""
        self.unsubscribed = True
        self.end(StopAsyncIteration())
        if self._topic in self._multiplexer.automatic_topics:
            self._remove()
        elif self._multiplexer.closed is None:
            self._multiplexer.topics[self._topic] = self
            self._multiplexer.post("topic.unsubscribe", {"topic": self._topic}, self)

    def _remove(self) -> None:
        if self._multiplexer.topics.get(self._topic) is self:
            del self._multiplexer.topics[self._topic]
