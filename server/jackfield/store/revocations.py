"""Revocations in Redis, where every node finds them, each until what it revokes has run out.

Times are by the clock of Redis.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from jackfield.redis.client import RedisClient

from .arguments import milliseconds
from .keys import Keys
from .lua import load

_WRITE: Final = load("write_revocations", "clock")
_READ: Final = load("read_revocations")

#: Entries of one call.
_BATCH: Final = 250


class Revocation(NamedTuple):
    """Something revoked.

    Attributes:
        target: What it is; the words are up to the caller.
        since: When it was revoked.
        until: When that can be forgotten.
    """

    target: str
    since: float
    until: float


class NewRevocations(NamedTuple):
    """What was revoked since somebody last asked.

    Attributes:
        newest: The score of the newest, to ask by the next time.
        entries: What was revoked.
    """

    newest: int
    entries: list[Revocation]


class RevocationStore:
    """The revocations that all nodes share.

    Args:
        client: The client.
        keys: The keys of this node.
    """

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = [keys.revoked, keys.revoked_until]

    async def add(self, targets: Sequence[str], lifetime: float) -> None:
        """Revoke from now on.

        Args:
            targets: What to revoke.
            lifetime: Seconds until that can be forgotten.

        Raises:
            Error: ``unavailable``: Redis is away, and it may be revoked or not.
        """
        await self._client.run(_WRITE, self._keys, [milliseconds(lifetime), *targets])

    async def restore(self, entries: Iterable[Revocation]) -> None:
        """Enter again what had gone.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        texts = [
            f"{milliseconds(each.since)} {milliseconds(each.until)} {each.target}"
            for each in entries
        ]
        for start in range(0, len(texts), _BATCH):
            await self._client.run(_WRITE, self._keys, [0, *texts[start : start + _BATCH]])

    async def read(self, known: int) -> NewRevocations:
        """What was entered since somebody looked.

        Args:
            known: ``newest`` of that look; 0 for everything.

        Returns:
            Everything if ``newest`` is less than what is known: it has gone from Redis since.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        newest, *entries = await self._client.run(_READ, self._keys[:1], [known])
        return NewRevocations(int(newest), [_parse(entry) for entry in entries])


def _parse(entry: bytes) -> Revocation:
    since, until, target = str(entry, "utf-8").split(" ", 2)
    return Revocation(target, int(since) / 1000, int(until) / 1000)
