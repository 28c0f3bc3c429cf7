"""`Shares`: bound what clients keep in Redis, by user, or by connection and address.

A user has one share on all nodes. An anonymous client has one for its connection and one for its
address, but for an address of this machine: no client elsewhere has one of those, but a proxy that
isn't among the trusted ones may.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from jackfield.config import LimitSettings
from jackfield.redis.memory import MemoryWatch
from jackfield.store.shares import ShareReport, ShareStore
from jackfield.store.topics import StoredTopic
from jackfield.wire.errors import Error
from jackfield.wire.position import Position
from jackfield.wire.rates import rounded_up

from .connection import Connection
from .payer import PAYER, Payer, share_name
from .share import Share, TopicCharge

#: Bytes that Redis takes for what is kept, beside what was sent.
TOPIC_BYTES: Final = 400  # a topic's position
LOG_BYTES: Final = 1_200  # the history of a topic, without its events
EVENT_BYTES: Final = 32
KEY_BYTES: Final = 160  # an idempotency key
TASK_BYTES: Final = 3_000  # a task, its topic and its place in queues
FIELD_BYTES: Final = 48
#: Seconds that an idempotency key of a publication is remembered.
_KEY_LIFETIME: Final = 600.0
#: Seconds that a client is told to wait while Redis is nearly full: for some of it to expire.
_FULL_WAIT: Final = 5.0
#: Seconds between checks whether it still is.
_ROOM_CHECK: Final = 0.25
#: The share of its limit from which on a share is reported at each heartbeat, whatever is charged
#: here: what other nodes charge counts then.
_WATCHED: Final = 0.5

#: What `Shares.refused` counts: keys under ``[limits]``, the memory of Redis, and keys under
#: ``[agents]``.
_LIMITS: Final = (
    "kept_bytes",
    "kept_bytes_per_address",
    "new_topics_per_minute",
    "redis_memory",
    "queue",
    "queue_per_user",
    "per_user",
    "skills_bytes",
)


class Shares:
    """The shares of the clients of one node.

    Every method that charges raises `Error`: ``rate_limited`` with ``limit`` if a share is used up,
    ``unavailable`` if Redis is nearly full. Then nothing was charged.

    Args:
        limits: How much a share has.
        memory: Tells whether Redis is nearly full.
        store: The shares of all nodes.
    """

    def __init__(self, limits: LimitSettings, memory: MemoryWatch, store: ShareStore) -> None:
        self._limits = limits
        self._memory = memory
        self._store = store
        self._shares: dict[str, Share] = {}
        #: How often a client was refused, by the key of the limit.
        self.refused: Counter[str] = Counter(dict.fromkeys(_LIMITS, 0))

    def __len__(self) -> int:
        return len(self._shares)

    # What is kept for a time.

    def charge(self, connection: Connection, size: int, lifetime: float) -> None:
        """Charge what will be kept for a client.

        Args:
            connection: The client's.
            size: Bytes, with what Redis takes beside them.
            lifetime: Seconds that they are kept.
        """
        self.check_memory()
        shares, now = self._shares_of(connection), connection.loop.time()
        self._check(shares, now, size)
        self._memory.spend(size)
        for share in shares:
            share.charge(now, size, lifetime)

    def charge_event(
        self,
        connection: Connection,
        topic: StoredTopic,
        size: int,
        key: str,
        is_alive: Callable[[StoredTopic], bool],
    ) -> bool:
        """Charge an event that a client has published.

        Args:
            connection: The client's.
            topic: The topic that it is published to.
            size: Bytes of the event.
            key: Its idempotency key; "" for none.
            is_alive: Tells whether a topic is known to be there, whoever publishes to it.

        Returns:
            Whether the topic counts as brought to life; see `return_if_alive`.
        """
        entry = connection[PAYER].topics.get(topic.keys.channel)
        if entry is None or entry.tick != self._memory.tick or size > entry.free_size or key:
            return self._charge_event(connection, topic, size, is_alive, keyed=bool(key))
        return False  # it replaces one as large, which was charged

    def _charge_event(
        self,
        connection: Connection,
        topic: StoredTopic,
        size: int,
        is_alive: Callable[[StoredTopic], bool],
        *,
        keyed: bool,
    ) -> bool:
        keys, history, ttl = topic
        if history or keyed:
            self.check_memory()
        shares, now = self._shares_of(connection), connection.loop.time()
        is_new = keys.channel not in shares[0].topics and not is_alive(topic)
        entry = shares[0].topics.get(keys.channel) or TopicCharge()
        cost = entry.cost(now, size + EVENT_BYTES, history, ttl)
        if now >= entry.last + ttl:
            cost += TOPIC_BYTES + (LOG_BYTES if history else 0)
        self._check(shares, now, cost + KEY_BYTES * keyed)
        if is_new:
            self._take_topic(shares, now)
        shares[0].remember(keys.channel, entry)
        entry.add(now, size + EVENT_BYTES, history, ttl)
        entry.tick = self._memory.tick
        entry.free_size = entry.replaceable(history) - EVENT_BYTES
        self._memory.spend(cost + KEY_BYTES * keyed)
        for share in shares:
            if cost:
                share.charge(now, cost, ttl)
            if keyed:
                share.charge(now, KEY_BYTES, _KEY_LIFETIME)
        return is_new

    async def wait_for_room(self, size: int) -> None:
        """Wait while Redis is nearly full, before something is kept that is not charged to anybody.

        Args:
            size: Bytes that will be kept.
        """
        while self._memory.nearly_full:  # noqa: ASYNC110 - it is looked at, and tells nobody
            await asyncio.sleep(_ROOM_CHECK)
        self._memory.spend(size)

    def room(self, connection: Connection) -> float:
        """Return how much of its share a client has left, from 0 to 1."""
        now = connection.loop.time()
        return max(
            0.0, min(1 - each.kept(now) / each.limit for each in self._shares_of(connection))
        )

    # What is kept for as long as a connection lives.

    def hold(
        self, connection: Connection, what: str, size: int, *, also_nearly_full: bool = False
    ) -> int:
        """Charge what is kept until the connection ends, or is held with another size.

        Args:
            connection: The client's.
            what: What it is, among all that the connection holds.
            size: Bytes from now on; 0 for nothing.
            also_nearly_full: Whether it is kept while Redis is nearly full, too.

        Returns:
            The bytes before: to hold these again if it could not be kept.
        """
        payer = connection[PAYER]
        before = payer.held.get(what, 0)
        if size == before:
            return before
        shares = self._shares_of(connection)
        if size > before:
            if not also_nearly_full:
                self.check_memory()
            self._check(shares, connection.loop.time(), size - before)
            self._memory.spend(size - before)
        self._set_held(payer, what, size)
        return before

    def release(self, connection: Connection, what: str, size: int = 0) -> None:
        """Hold no more than so many bytes, whatever the limits are."""
        payer = connection[PAYER]
        if payer.shares:
            self._set_held(payer, what, size)

    def leave(self, connection: Connection) -> None:
        """A connection has ended: what it held is gone."""
        payer = connection[PAYER]
        self._let_go(payer)
        payer.held.clear()

    # Topics that are brought to life.

    def claim_topic(self, connection: Connection, topic: StoredTopic) -> None:
        """Charge a topic that a client may bring to life by asking after it.

        Above what is nearly full, too: who comes back to a topic must find it.

        Args:
            connection: The client's.
            topic: The topic; `return_topic` if it was alive before.
        """
        shares, now = self._shares_of(connection), connection.loop.time()
        self._check(shares, now, TOPIC_BYTES)
        self._take_topic(shares, now)
        self._memory.spend(TOPIC_BYTES)
        for share in shares:
            share.charge(now, TOPIC_BYTES, topic.ttl)

    def return_topic(self, connection: Connection, topic: StoredTopic | None = None) -> None:
        """A topic was alive before, whose first event was charged; or was claimed, if it is given.

        Args:
            connection: The client's.
            topic: What was claimed.
        """
        now = connection.loop.time()
        for share in connection[PAYER].shares:
            share.new_topics.put_back(1)
            if topic is not None:
                share.charge(now, -TOPIC_BYTES, topic.ttl)

    def return_if_alive(
        self, connection: Connection, publication: "asyncio.Future[Position]"
    ) -> None:
        """Count a topic as brought to life only if a publication turns out to be its first."""

        def count(position: "asyncio.Future[Position]") -> None:
            if not (position.cancelled() or position.exception()) and position.result().offset > 1:
                self.return_topic(connection)

        publication.add_done_callback(count)

    def _take_topic(self, shares: tuple[Share, ...], now: float) -> None:
        for place, share in enumerate(shares):
            wait = share.new_topics.take(now)
            if wait:
                for each in shares[:place]:
                    each.new_topics.put_back(1)
                raise self._refusal("new_topics_per_minute", wait, "Too many topics are new.")

    # With other nodes.

    async def reconcile(self) -> None:
        """Report what was charged here, and learn what was charged at other nodes.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        now = asyncio.get_running_loop().time()
        due = {}
        for key, share in list(self._shares.items()):
            if share.forget_drained(now):
                del self._shares[key]
            elif share.name is not None and (
                share.is_changed or share.held or share.kept(now) > share.limit * _WATCHED
            ):
                due[share.name] = share
        for names in self._store.batches(list(due)):
            await self._report([due[name] for name in names])

    async def _report(self, shares: list[Share]) -> None:
        reports = [
            ShareReport(share.name or "", share.limit, share.held, share.take_unreported())
            for share in shares
        ]
        try:
            totals = await self._store.reconcile(reports)
        except Error:
            for share, report in zip(shares, reports, strict=True):
                share.put_back(report.charged)
            raise
        now = asyncio.get_running_loop().time()
        for share, total in zip(shares, totals, strict=True):
            share.learn(now, total.levels, total.held_elsewhere)

    # What all of these need.

    @property
    def nearly_full(self) -> bool:
        """Whether Redis is nearly full."""
        return self._memory.nearly_full

    def check_memory(self) -> None:
        """Refuse what would be kept while Redis is nearly full."""
        if self.nearly_full:
            self.count_refusal("redis_memory")
            raise Error(
                "unavailable", "Redis is nearly full: nothing more is kept.", retry_after=_FULL_WAIT
            )

    def _check(self, shares: tuple[Share, ...], now: float, size: float) -> None:
        for share in shares:
            wait = share.wait(now, size)
            if wait:
                of_address = share is not shares[0]
                raise self._refusal(
                    "kept_bytes_per_address" if of_address else "kept_bytes",
                    wait,
                    "Too much is kept on the server for this "
                    + ("address." if of_address else "client."),
                )

    def count_refusal(self, limit: str) -> None:
        """Count that a client was refused, by the key of the limit."""
        self.refused[limit] += 1

    def _refusal(self, limit: str, wait: float, message: str) -> Error:
        self.count_refusal(limit)
        return Error(
            "rate_limited",
            message,
            retry_after=rounded_up(wait),
            limit=getattr(self._limits, limit),
        )

    def _shares_of(self, connection: Connection) -> tuple[Share, ...]:
        payer = connection[PAYER]
        if not payer.shares or payer.user != connection.identity.user:
            self._find(connection, payer)
        return payer.shares

    def _find(self, connection: Connection, payer: Payer) -> None:
        """Find the shares of a connection; what it holds counts for these from now on."""
        self._let_go(payer)
        limits, user, name = self._limits, connection.user, share_name(connection)
        of_all = limits.kept_bytes if user is not None else limits.kept_bytes_per_address
        shares = []
        if user is None:
            shares.append(Share(limits.kept_bytes, limits.new_topics_per_minute, None))
        if name is not None:
            shares.append(self._share(name, of_all))
        payer.user, payer.shares, payer.topics = user, tuple(shares), shares[0].topics
        held = sum(payer.held.values())
        for share in payer.shares:
            share.connections += 1
            share.held += held

    def _share(self, name: str, limit: int) -> Share:
        share = self._shares.get(name)
        if share is None:
            share = self._shares[name] = Share(limit, self._limits.new_topics_per_minute, name)
        return share

    def _let_go(self, payer: Payer) -> None:
        held = sum(payer.held.values())
        for share in payer.shares:
            share.connections -= 1
            share.held -= held
            share.is_changed = share.is_changed or bool(held)
        payer.shares, payer.topics = (), {}

    def _set_held(self, payer: Payer, what: str, size: int) -> None:
        more = size - payer.held.get(what, 0)
        if size:
            payer.held[what] = size
        else:
            payer.held.pop(what, None)
        for share in payer.shares:
            share.held += more
            share.is_changed = True
