"""`MemoryWatch`: how full Redis is, and whether it takes writes."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final

import structlog

from jackfield.wire.errors import Error

from .client import RedisClient, refusal_of

_log = structlog.get_logger("jackfield")

#: Seconds between two looks, and between two once Redis is half full.
_INTERVAL: Final = 1.0
_SHORT_INTERVAL: Final = 0.25
_HALF: Final = 0.5
#: The share of ``maxmemory`` from which on clients keep nothing more: what is left is for
#: connections, leases and presence.
_NEARLY: Final = 0.8
#: The share below which they may again: for more than a moment, or the log would be full of it.
_ROOM_AGAIN: Final = 0.75
#: Milliseconds that what is written to find out whether Redis takes writes is kept.
_PROBE_TTL: Final = 1

#: What to do about each reply by which Redis refuses to write.
_REMEDIES: Final[Mapping[str, str]] = {
    "OOM": "raise redis.embedded_memory, or maxmemory of your own Redis; or lower "
    "limits.kept_bytes and the history= and ttl= of topics",
    "MISCONF": "Redis can't write to its disk: its own log says why",
    "NOREPLICAS": "Redis has too few replicas: see min-replicas-to-write",
    "READONLY": "this Redis is a replica: redis.url must name the master, or a failover is under "
    "way",
}


class MemoryWatch:
    """Watches the memory of a Redis; of a Cluster, that of its fullest master.

    Args:
        client: The client.
        probe: The key that is written to find out whether Redis takes writes.
    """

    def __init__(self, client: RedisClient, probe: str) -> None:
        self._client = client
        self._probe = probe
        #: Bytes that are used, and may be; 0 where there is no limit.
        self.used = 0
        self.maximum = 0
        #: Whether nothing more is to be kept for clients. Where Redis evicts keys there is always
        #: room, and a shared cache may be full all the time.
        self.nearly_full = False
        #: The reply by which Redis refuses writes (``OOM``); None while it takes them.
        self.refusal: str | None = None
        #: Changes with every look, and when Redis becomes nearly full: at least once a second.
        self.tick = 0
        # Bytes that may still be kept before the next look.
        self._room = math.inf
        self._fullness = 0.0

    def spend(self, size: float) -> None:
        """Count what is about to be kept: a fast client can fill Redis between two looks.

        Args:
            size: The bytes.
        """
        self._room -= size
        if self._room <= 0 and not self.nearly_full:
            self._set_nearly_full(nearly_full=True)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.look()
            except Error:  # Redis is away; the heartbeat says so
                pass
            except Exception:  # noqa: BLE001 - a fault must not leave a full Redis unseen for ever
                _log.exception("a look at Redis's memory failed")
            await asyncio.sleep(_INTERVAL if self._fullness < _HALF else _SHORT_INTERVAL)

    async def look(self) -> None:
        """Look at it once.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        self.tick += 1
        infos = [_Info(reply) for reply in await self._client.execute_everywhere("INFO", "memory")]
        fullest = max(infos, key=lambda each: each.fullness)
        self.used, self.maximum = fullest.used, fullest.maximum
        self._fullness = fullest.fullness
        self._room = fullest.maximum * _NEARLY - fullest.used if fullest.is_limiting else math.inf
        border = _ROOM_AGAIN if self.nearly_full else _NEARLY
        nearly_full = fullest.is_limiting and fullest.fullness >= border
        if nearly_full != self.nearly_full:
            self._set_nearly_full(nearly_full=nearly_full)
        await self._look_for_refusal()

    async def _look_for_refusal(self) -> None:
        refusal = None
        try:
            await self._client.execute("SET", self._probe, "1", "PX", _PROBE_TTL)
        except Error as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
        if (refusal is None) != (self.refusal is None):
            if refusal is None:
                _log.info("Redis takes writes again", used=self.used, maximum=self.maximum)
            else:
                _log.error(
                    "Redis refuses writes",
                    cause=refusal,
                    remedy=_REMEDIES[refusal],
                    used=self.used,
                    maximum=self.maximum,
                )
        self.refusal = refusal

    def _set_nearly_full(self, *, nearly_full: bool) -> None:
        self.nearly_full = nearly_full
        self.tick += 1
        if nearly_full:
            _log.warning(
                "Redis is nearly full: clients keep nothing more",
                remedy=_REMEDIES["OOM"],
                used=self.used,
                maximum=self.maximum,
            )
        else:
            _log.info("Redis has room again", used=self.used, maximum=self.maximum)


class _Info:
    """What one server says of its memory."""

    def __init__(self, reply: Mapping[str, Any]) -> None:
        # What replicas and the append-only file have yet to be sent does not count for the limit.
        not_counted = int(reply.get("mem_not_counted_for_evict", 0))
        self.used = max(0, int(reply["used_memory"]) - not_counted)
        self.maximum = int(reply.get("maxmemory", 0))
        #: Whether it refuses writes past its limit.
        self.is_limiting = bool(self.maximum) and reply.get("maxmemory_policy") == "noeviction"

    @property
    def fullness(self) -> float:
        return self.used / self.maximum if self.maximum else 0.0
