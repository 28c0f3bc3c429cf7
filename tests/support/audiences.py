"""An audience without a node: the Redis it asks, and members that keep what they are sent."""

import asyncio
from typing import Any

from jackfield import AnyPayload, Plugin, Position
from jackfield.declaration.topic_family import TopicFamily
from jackfield.store.keys import Keys
from jackfield.store.presence import MemberConnections, PresenceSnapshot
from jackfield.store.topics import Recovery, StoredTopic
from jackfield.topics.audience import Audience
from jackfield.topics.encoding import Batch, Published
from jackfield.topics.join import Join, prepare_join
from jackfield.topics.topic import Topic
from jackfield.wire import protocol
from jackfield.wire.errors import Error
from tests.support.connected import Connected
from tests.support.waiting import wait_until

KEYS = Keys("test", "node")
FAMILY = Plugin("test").topic("a", AnyPayload, history=100, ttl="1h")
#: One whose members are told of each other.
ROOM = Plugin("test").topic("room", AnyPayload, history=100, ttl="1h", presence=True)


def topic_of(family: TopicFamily) -> Topic:
    """The one topic of a family without parts."""
    name = str(family.pattern)
    stored = StoredTopic(KEYS.topic(name), family.history, family.ttl)
    return Topic(name, family, {}, stored, protocol.event_head(name))


def event(number: int) -> bytes:
    return b"%b%d%b" % (protocol.event_head("a"), number, protocol.event_tail({}))


def batch(first: int, last: int) -> Batch:
    return Batch(first, [event(number) for number in range(first, last + 1)])


def published(*numbers: int, epoch: str = "e") -> Published:
    """What a script publishes of events, which follow on each other."""
    return Published(b"e", epoch, batch(numbers[0], numbers[-1]))


def read(
    offset: int, after: int | None = None, *, upto: int | None = None, **more: Any
) -> Recovery:
    """What Redis answers: where the topic stands, and what came after a number."""
    after = offset if after is None else after
    events = [event(number) for number in range(after + 1, (upto or offset) + 1)]
    return Recovery("e", offset, recovered=True, after=after, events=events)._replace(**more)


async def turns() -> None:
    """Give everything that is scheduled its turn."""
    for _ in range(10):
        await asyncio.sleep(0)


class Subscriber(Connected):
    """A client, and the numbers of what it was sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._got: list[Any] = []

    @property
    def got(self) -> list[Any]:
        """The numbers of events, positions of losses, and what else there was whole; in order."""
        for message in self.sent():
            if message["type"] == "event":
                self._got.append(message["offset"])
            elif message["type"] == "error":
                error = message["error"]
                assert error["code"] == "unrecoverable"
                self._got.append((error["epoch"], error["offset"]))
            else:
                self._got.append(message)
        return self._got


class AskedRedis:
    """A store and a bus that answer when they are told to."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.reads: list[tuple[Position | None, asyncio.Future[Recovery]]] = []
        self.subscriptions: list[asyncio.Future[None]] = []

    async def read(self, _stored: StoredTopic, since: Position | None, **_: Any) -> Recovery:
        future: asyncio.Future[Recovery] = self.loop.create_future()
        self.reads.append((since, future))
        return await future

    async def subscribe(self, _channel: str) -> None:
        future: asyncio.Future[None] = self.loop.create_future()
        self.subscriptions.append(future)
        await future

    async def answer(self, answer: Recovery | Error) -> Position | None:
        """Answer the next read; returns what it asked for."""
        await wait_until(lambda: self.reads)
        since, future = self.reads.pop(0)
        if isinstance(answer, Error):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        await turns()
        return since


class KeptPresence:
    """A store of presence that does as Redis would, for one node, unless it is away."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.version = 100
        #: Each member's connections and profile.
        self.members: dict[str, tuple[int, bytes]] = {}
        self.written: list[tuple[str, int]] = []
        self.refreshes = 0
        self.is_away = False
        #: What it says to know of this node, if that is not what it was told.
        self.known: list[str] | None = None
        #: The versions that the next reads find, if others than that of what was written.
        self.versions: list[int] = []

    def write(self, update: MemberConnections) -> "asyncio.Future[int]":
        future: asyncio.Future[int] = self.loop.create_future()
        if self.is_away:
            future.set_exception(Error("unavailable"))
            future.exception()  # whoever wrote needs not look
            return future
        self.written.append((update.member, update.connections))
        if (update.member in self.members) != bool(update.connections):
            self.version += 1
        self.members[update.member] = (update.connections, update.info)
        if not update.connections:
            del self.members[update.member]
        future.set_result(self.version)
        return future

    async def refresh(self, _keys: object, _head: bytes, _members: int) -> Any:
        if self.is_away:
            raise Error("unavailable")
        self.refreshes += 1
        return self.version, self.known

    async def read(self, _keys: object, _head: bytes, limit: int) -> PresenceSnapshot:
        if self.is_away:
            raise Error("unavailable")
        if self.versions:
            self.version = self.versions.pop(0)
        return PresenceSnapshot(
            self.version, len(self.members), list(self.members.values())[:limit]
        )


class Stage:
    """An audience, and the Redis it asks."""

    def __init__(self, family: TopicFamily = FAMILY) -> None:
        self.redis = AskedRedis()
        self.presence = KeptPresence()
        self.emptied = 0
        redis: Any = self.redis
        presence: Any = self.presence
        self.audience = Audience(
            topic_of(family),
            store=redis,
            bus=redis,
            presence=presence,
            refills=asyncio.Semaphore(),
            on_empty=self.emptied_now,
        )

    def emptied_now(self, audience: Audience) -> None:
        self.emptied += 1
        audience.cancel()

    async def open(self, offset: int = 0) -> Subscriber:
        """Have a first member join; returns it."""
        joining = asyncio.create_task(self.join(first := Subscriber()))
        await wait_until(lambda: self.redis.subscriptions)
        self.redis.subscriptions.pop().set_result(None)
        await self.redis.answer(read(offset))
        (await joining).activate()
        return first

    async def join(
        self, subscriber: Subscriber, since: Position | None = None, **options: Any
    ) -> Join:
        options.setdefault("max_bytes", 1000)
        return await prepare_join(self.audience, subscriber.connection, since, **options)
