"""What users and addresses keep in Redis, added up over all nodes: one hash each, while it counts.

Each node charges by itself and reports here what it has charged since the last time.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from jackfield.redis.client import Argument, RedisClient

from .arguments import flat, milliseconds, rows
from .keys import Keys
from .lua import load

_RECONCILE: Final = load("reconcile_shares", "clock")

#: Shares of one call. Redis does one in 8 us, and nothing else meanwhile.
_BATCH: Final = 100


class ShareReport(NamedTuple):
    """What a node has to report of a share.

    Attributes:
        name: The share's name.
        limit: Bytes that it may keep.
        held: Bytes that its connections at this node hold.
        charged: Bytes that were charged since the last report, by lifetime class in seconds.
    """

    name: str
    limit: int
    held: int
    charged: Mapping[int, float]


class ShareTotal(NamedTuple):
    """What all nodes together know of a share.

    Attributes:
        held_elsewhere: Bytes that connections of other nodes hold.
        levels: Bytes that are left of what was charged, by lifetime class in seconds.
    """

    held_elsewhere: int
    levels: dict[int, float]


class ShareStore:
    """The shares of all nodes, in Redis.

    Args:
        client: The client.
        keys: The keys of this node.
        ttl: Seconds without a report after which what a node's connections hold counts no more.
    """

    def __init__(self, client: RedisClient, keys: Keys, ttl: float) -> None:
        self._client = client
        self._keys = keys
        self._ttl = milliseconds(ttl)

    async def reconcile(self, reports: Sequence[ShareReport]) -> list[ShareTotal]:
        """Report shares, all of one slot, and learn what all nodes together know of them.

        Raises:
            Error: ``unavailable``: Redis is away, and what was reported may count or not.
        """
        keys = [self._keys.share(report.name) for report in reports]
        reply = await self._client.run(
            _RECONCILE, keys, [f"@{self._keys.node_id}", self._ttl, *flat(map(_arguments, reports))]
        )
        return [_total(each) for each in reply]

    def batches(self, names: Sequence[str]) -> list[list[str]]:
        """Group names of shares into those that go in one call."""
        by_slot: dict[int, list[str]] = {}
        for name in names:
            by_slot.setdefault(self._client.slot(self._keys.share(name)), []).append(name)
        return [
            group[start : start + _BATCH]
            for group in by_slot.values()
            for start in range(0, len(group), _BATCH)
        ]


def _arguments(report: ShareReport) -> list[Argument]:
    pairs = flat((seconds, f"{size:.0f}") for seconds, size in report.charged.items())
    return [report.limit, report.held, len(report.charged), *pairs]


def _total(reply: Sequence[bytes]) -> ShareTotal:
    levels = {int(seconds): float(level) for seconds, level in rows(reply[1:], 2)}
    return ShareTotal(int(reply[0]), levels)
