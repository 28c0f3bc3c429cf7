"""Clients that follow and publish to a topic whatever happens, and note what must not happen.

They speak the protocol by themselves, over WebSockets that aren't ours, and hold the server to it:
a follower's events come in order, each once, and none is missing unless it was told so.
"""

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

Message = dict[str, Any]
#: Where to connect next: another node than the last time, perhaps.
Address = Callable[[], str]

#: Seconds in which every request must be answered while its connection lives: the bounds of the
#: server are far below, so that only one that hangs takes as long.
BOUND: Final = 10.0
#: Seconds to open a connection: past it the node is held still, and another is tried.
_OPEN: Final = 3.0
#: Seconds until what failed is tried again.
_PAUSE: Final = 0.05


class Position(NamedTuple):
    """A place in a topic."""

    epoch: str
    offset: int


class Gap(NamedTuple):
    """What a follower was told that it lacks: what came after ``after``, up to ``upto``."""

    after: Position
    upto: Position


class Event(NamedTuple):
    """An event as a follower got it."""

    offset: int
    payload: Message


class _Dialled(ABC):
    """One client, with one connection after another.

    Args:
        address: The WebSocket to connect to.
        heartbeat: Seconds between pings, and until one must be answered; None for no pings.
    """

    def __init__(self, address: Address, heartbeat: float | None) -> None:
        self._address = address
        self._heartbeat = heartbeat
        #: What the server has done that it must not do, in words.
        self.faults: list[str] = []
        #: How its connections ended, by close code; None for a line that was lost.
        self.closed: list[int | None] = []
        #: The id of its connection, while it has one.
        self.connection: str | None = None

    async def run(self) -> None:
        """Be a client until cancelled."""
        while True:
            try:
                socket = await self._open()
            except (OSError, WebSocketException):  # a TimeoutError is an OSError
                await asyncio.sleep(_PAUSE)
                continue
            try:
                await self._converse(socket)
            except ConnectionClosed as closed:
                self.closed.append(None if closed.rcvd is None else closed.rcvd.code)
            finally:
                self.connection = None
                socket.transport.abort()
            await asyncio.sleep(_PAUSE)

    async def _open(self) -> ClientConnection:
        return await connect(
            self._address(),
            subprotocols=[Subprotocol("jackfield.v1")],
            compression=None,
            open_timeout=_OPEN,
            ping_interval=self._heartbeat,
            ping_timeout=self._heartbeat,
            max_size=None,
        )

    @abstractmethod
    async def _converse(self, socket: ClientConnection) -> None:
        """Use one connection to its end."""

    async def _receive(self, socket: ClientConnection) -> Message:
        while True:
            message: Message = msgspec.json.decode(await socket.recv())
            if message["type"] == "welcome":
                self.connection = message["payload"]["connection"]
            elif self.connection is not None and message["type"] != "goodbye":
                return message  # before the welcome there is only the reason why none comes

    async def _ask(self, socket: ClientConnection, request: Message) -> Message | None:
        """Send a request until it is answered with a reply; what comes before it is handed on.

        Returns:
            The reply's payload; None if it was refused for good, which is a fault.
        """
        while True:
            id_ = secrets.token_hex(8)
            await socket.send(msgspec.json.encode({**request, "id": id_}), text=True)
            try:
                async with asyncio.timeout(BOUND):
                    while (answer := await self._receive(socket)).get("id") != id_:
                        self._take(answer)
            except TimeoutError:
                self.faults.append(f"{request['type']} was not answered within {BOUND:g} s")
                continue
            if answer["type"] == "reply":
                return dict(answer["payload"])
            if not answer["error"]["retryable"]:
                self.faults.append(f"{request['type']} was answered with {answer['error']}")
                return None
            self._refused(answer["error"]["code"])
            await asyncio.sleep(_PAUSE)

    def _take(self, message: Message) -> None:  # noqa: B027 - not everyone listens
        """Take what answers nothing."""

    def _refused(self, code: str) -> None:  # noqa: B027 - not everyone counts
        """Note that a request has to be tried again."""


class Follower(_Dialled):
    """Subscribes to a topic, and goes on from where it was on every new connection.

    Args:
        address: The WebSocket to connect to.
        topic: What it follows.
        heartbeat: Seconds between pings, and until one must be answered; None for no pings.
    """

    def __init__(self, address: Address, topic: str, heartbeat: float | None = None) -> None:
        super().__init__(address, heartbeat)
        self.topic = topic
        self.position: Position | None = None
        self.events: list[Event] = []
        self.gaps: list[Gap] = []
        #: The messages about who is there, in order.
        self.presence: list[Message] = []
        #: How often it has subscribed.
        self.subscriptions = 0

    async def _converse(self, socket: ClientConnection) -> None:
        payload: Message = {"topic": self.topic}
        before = self.position
        if before is not None:
            payload["since"] = before._asdict()
        reply = await self._ask(socket, {"type": "topic.subscribe", "payload": payload})
        if reply is None:
            await socket.close()
            return
        self._subscribed(before, reply)
        while True:
            self._take(await self._receive(socket))

    def _subscribed(self, before: Position | None, reply: Message) -> None:
        now = Position(reply["epoch"], reply["offset"])
        self.subscriptions += 1
        if before is None:
            self.position = now
        elif reply["recovered"]:
            for event in reply["events"]:
                self._take(event)
            if self.position != now:
                self.faults.append(f"recovered up to {self.position}, which should be {now}")
                self.position = now
        else:
            self._lacks(now)

    def _take(self, message: Message) -> None:
        match message:
            case {"type": "event", "topic": self.topic, "offset": offset, "payload": payload}:
                if self.position is None:
                    self.faults.append(f"event {offset} came before it was subscribed")
                    return
                due = self.position.offset + 1
                if offset != due:
                    self.faults.append(f"event {offset} came where {due} was due")
                self.events.append(Event(offset, payload))
                self.position = self.position._replace(offset=offset)
            case {
                "type": "error",
                "id": None,
                "error": {"code": "unrecoverable", "topic": self.topic} as error,
            }:
                self._lacks(Position(error["epoch"], error["offset"]))
            case {"type": "error", "error": {"code": "unrecoverable"}}:
                pass  # of a topic that every connection is in, such as `broadcast`
            case {"type": "error", "error": error}:
                self.faults.append(f"it was told {error}")
            case {"type": "presence", "topic": self.topic}:
                self.presence.append(message)

    def _lacks(self, now: Position) -> None:
        if self.position is not None:
            self.gaps.append(Gap(self.position, now))
        self.position = now

    def lacks(self, offset: int) -> bool:
        """Whether it was told that it may lack an event."""
        return any(gap.after.offset < offset <= gap.upto.offset for gap in self.gaps)


class Publisher(_Dialled):
    """Publishes one line after another, each until it is acknowledged, under a key of its own.

    Args:
        address: The WebSocket to connect to.
        topic: Where to.
        name: What its lines are signed with.
        pause: Seconds between one acknowledgement and the next publication.
        heartbeat: Seconds between pings, and until one must be answered; None for no pings.
    """

    def __init__(
        self,
        address: Address,
        topic: str,
        name: str,
        *,
        pause: float = 0.01,
        heartbeat: float | None = None,
    ) -> None:
        super().__init__(address, heartbeat)
        self.topic = topic
        self.name = name
        #: What was acknowledged, in order: line ``n`` is the n-th, counted from 1.
        self.acknowledged: list[Position] = []
        #: By which code it was refused, and how often.
        self.refusals: Counter[str] = Counter()
        self._pause = pause
        self._last: int | None = None

    def finish(self) -> None:
        """Publish one more line, or the one that is under way, and no other."""
        self._last = len(self.acknowledged) + 1

    @property
    def has_finished(self) -> bool:
        """Whether its last line is acknowledged."""
        return self._last is not None and len(self.acknowledged) >= self._last

    async def _converse(self, socket: ClientConnection) -> None:
        while not self.has_finished:
            number = len(self.acknowledged) + 1
            line = {"by": self.name, "number": number}
            payload = {"topic": self.topic, "payload": line, "key": f"{self.name}-{number}"}
            reply = await self._ask(socket, {"type": "topic.publish", "payload": payload})
            if reply is None:
                await socket.close()
                return
            self.acknowledged.append(Position(reply["epoch"], reply["offset"]))
            await asyncio.sleep(self._pause)
        await socket.wait_closed()

    def _refused(self, code: str) -> None:
        self.refusals[code] += 1


def faults(followers: list[Follower], publishers: list[Publisher]) -> list[str]:
    """What is wrong with what followers have got, and publishers were told; nothing if all is well.

    To be asked when the publishers have finished and all followers have come to the last event.
    The offsets of the topic must have gone on: Redis has lost nothing.
    """
    found = []
    published: dict[int, Message] = {}
    for publisher in publishers:
        found += [f"publisher {publisher.name}: {fault}" for fault in publisher.faults]
        for number, position in enumerate(publisher.acknowledged, start=1):
            line = {"by": publisher.name, "number": number}
            other = published.setdefault(position.offset, line)
            if other is not line:
                found.append(f"{line} and {other} were both published at {position.offset}")
    for which, follower in enumerate(followers):
        found += [f"follower {which}: {fault}" for fault in follower.faults]
        got = {event.offset: event.payload for event in follower.events}
        if len(got) < len(follower.events):
            found.append(f"follower {which} got an event twice")
        found += [
            f"follower {which} got {got.get(offset)} at {offset} and not {line}"
            for offset, line in published.items()
            if got.get(offset) != line and not (offset not in got and follower.lacks(offset))
        ]
        found += [
            f"follower {which} got {payload} at {offset}, which nobody was told of"
            for offset, payload in got.items()
            if offset not in published
        ]
    return found
