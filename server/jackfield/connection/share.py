"""`Share`: what one user, anonymous client or address keeps in Redis, estimated and bounded.

What is kept is charged with its bytes and its lifetime, and is given back steadily over that time.
So no call to Redis is needed to know how much there is, and what expires there needs no report.
"""

import math
from collections.abc import Mapping
from typing import Final

from jackfield.wire.rates import TokenBucket

#: Topics of which a share remembers what it has published to them. Of one that is forgotten, what
#: is published next is charged in full, though it may replace what was charged before.
_TOPICS: Final = 1024
#: Seconds: a share that holds too much for as long as it is connected can't be told when that ends.
_HELD_WAIT: Final = 60.0
#: Seconds that new topics are counted over.
_MINUTE: Final = 60


def lifetime_class(seconds: float) -> int:
    """The power of two, in seconds, that a lifetime is rounded up to: a share has few buckets."""
    return 1 << (max(1, math.ceil(seconds)) - 1).bit_length()


class Bucket:
    """Bytes of one lifetime class; they drain so that a full share is empty after that time.

    Attributes:
        level: Bytes that were left at `at`.
        at: When, by the event loop's time.
        unreported: Bytes that other nodes have not been told of yet.
    """

    __slots__ = ("at", "level", "unreported")

    def __init__(self, level: float, at: float) -> None:
        self.level = level
        self.at = at
        self.unreported = 0.0


class TopicCharge:
    """What a share has published to one topic, and still keeps there.

    Attributes:
        bytes: Bytes of all that it may still keep.
        count: How many events these are.
        last: When it published last, by the event loop's time.
        until: When what it was charged has drained.
        tick: When these were last brought up to date; see `MemoryWatch.tick`.
        free_size: Bytes up to which another event in the same tick costs nothing.
    """

    __slots__ = ("bytes", "count", "free_size", "last", "tick", "until")

    def __init__(self) -> None:
        self.bytes = 0.0
        self.count = 0
        self.last = self.until = -math.inf
        self.tick = -1
        self.free_size = -math.inf

    def replaceable(self, history: int) -> float:
        """Return the bytes of an event that would cost nothing, as it replaces one as large.

        Args:
            history: How many events the topic keeps.
        """
        if not history:
            return math.inf
        return self.bytes / self.count if self.count >= history else -math.inf

    def cost(self, now: float, size: int, history: int, ttl: float) -> float:
        """Return the bytes that an event costs: less than its own if it replaces older events.

        Args:
            now: The event loop's time.
            size: Its bytes.
            history: How many events the topic keeps.
            ttl: For how many seconds after the last one.
        """
        if not history:
            return 0.0
        if now >= self.last + ttl:
            return float(size)
        # All that is there is prolonged by this one, and so is charged anew once that has drained.
        again = self.bytes if now >= self.until else 0.0
        if self.count < history:
            return again + size
        return again + max(0.0, size - self.bytes / self.count)

    def add(self, now: float, size: int, history: int, ttl: float) -> None:
        """Count an event that was charged."""
        if now >= self.last + ttl:
            self.bytes, self.count = 0.0, 0
        if now >= self.until:
            self.until = now + ttl
        if self.count < history:
            self.bytes += size
            self.count += 1
        elif history:
            self.bytes += max(0.0, size - self.bytes / self.count)
        self.last = now


class Share:
    """What one user, anonymous client or address keeps.

    Args:
        limit: Bytes that it may keep.
        new_topics: How many topics it may bring to life per minute.
        name: What it is called on all nodes; None if no other node can know it.
    """

    __slots__ = (
        "_buckets",
        "connections",
        "held",
        "held_elsewhere",
        "is_changed",
        "limit",
        "name",
        "new_topics",
        "topics",
    )

    def __init__(self, limit: int, new_topics: int, name: str | None) -> None:
        self.limit = limit
        self.name = name
        self.new_topics = TokenBucket(new_topics / _MINUTE, new_topics)
        #: What it has published to topics, by their channels.
        self.topics: dict[str, TopicCharge] = {}
        #: Bytes that are kept for as long as its connections say so, here and at other nodes.
        self.held = 0
        self.held_elsewhere = 0
        #: Its connections at this node.
        self.connections = 0
        #: Whether there is something that other nodes have not been told.
        self.is_changed = False
        self._buckets: dict[int, Bucket] = {}

    def kept(self, now: float) -> float:
        """Return how many bytes it keeps, about.

        Args:
            now: The event loop's time.
        """
        kept = float(self.held + self.held_elsewhere)
        for seconds, bucket in self._buckets.items():
            bucket.level -= (now - bucket.at) * self.limit / seconds
            bucket.level = max(bucket.level, 0.0)
            bucket.at = now
            kept += bucket.level
        return kept

    def wait(self, now: float, size: float) -> float:
        """Return 0.0 if there is room for so many bytes, else the seconds until there is.

        Args:
            now: The event loop's time.
            size: The bytes.
        """
        excess = self.kept(now) + size - self.limit
        if excess <= 0:
            return 0.0
        waited = 0.0
        # The bucket that is empty first goes first, as from then on the others drain alone.
        draining = sorted((each.level * s, s) for s, each in self._buckets.items() if each.level)
        while draining:
            rate = sum(self.limit / seconds for _, seconds in draining)
            until_next = draining[0][0] / self.limit - waited
            if excess <= rate * until_next:
                return waited + excess / rate
            excess -= rate * until_next
            waited += until_next
            del draining[0]
        return waited + _HELD_WAIT

    def charge(self, now: float, size: float, lifetime: float) -> None:
        """Charge what will be kept; a negative size gives back what was charged before.

        Args:
            now: The event loop's time.
            size: The bytes.
            lifetime: Seconds that they are kept.
        """
        seconds = lifetime_class(lifetime)
        bucket = self._buckets.get(seconds)
        if bucket is None:
            bucket = self._buckets[seconds] = Bucket(0.0, now)
        drained = (now - bucket.at) * self.limit / seconds
        bucket.level = max(0.0, max(0.0, bucket.level - drained) + size)
        bucket.at = now
        bucket.unreported += size
        self.is_changed = True

    def remember(self, channel: str, charge: TopicCharge) -> None:
        """Remember what it has published to a topic, and forget the topic that it knew first."""
        if channel not in self.topics and len(self.topics) >= _TOPICS:
            del self.topics[next(iter(self.topics))]
        self.topics[channel] = charge

    # With other nodes.

    def take_unreported(self) -> dict[int, float]:
        """Return what was charged since the last call, by lifetime class."""
        self.is_changed = False
        taken = {}
        for seconds, bucket in self._buckets.items():
            taken[seconds], bucket.unreported = bucket.unreported, 0.0
        return taken

    def put_back(self, unreported: Mapping[int, float]) -> None:
        """Take back what could not be reported."""
        self.is_changed = True
        for seconds, size in unreported.items():
            self._buckets[seconds].unreported += size

    def learn(self, now: float, levels: Mapping[int, float], held_elsewhere: int) -> None:
        """Take over what all nodes together have charged; what was charged since comes on top.

        Args:
            now: The event loop's time.
            levels: Bytes that are left, by lifetime class.
            held_elsewhere: Bytes that the connections of other nodes hold.
        """
        self.held_elsewhere = held_elsewhere
        for seconds, level in levels.items():
            bucket = self._buckets.get(seconds)
            if bucket is None:
                bucket = self._buckets[seconds] = Bucket(0.0, now)
            bucket.level = level + bucket.unreported
            bucket.at = now

    def forget_drained(self, now: float) -> bool:
        """Drop what has drained; returns whether nothing is left that must be remembered."""
        self.kept(now)
        for seconds, bucket in list(self._buckets.items()):
            if not bucket.level and not bucket.unreported:
                del self._buckets[seconds]
        return not (self._buckets or self.connections or self.held or self.is_changed)
