"""Shares for tests without Redis: they count, and nobody adds them up."""

from typing import Any, cast

from jackfield.config import load_settings
from jackfield.connection.shares import Shares
from jackfield.redis.client import RedisClient
from jackfield.redis.memory import MemoryWatch
from jackfield.store.shares import ShareStore


def memory_watch() -> MemoryWatch:
    """A watch that has never looked: Redis has room, and takes writes."""
    return MemoryWatch(cast(RedisClient, None), "probe")


def shares(**limits: Any) -> Shares:
    """Shares with the default limits, but for these."""
    settings = load_settings(None, {}, {"limits": limits})
    return Shares(settings.limits, memory_watch(), cast(ShareStore, None))
