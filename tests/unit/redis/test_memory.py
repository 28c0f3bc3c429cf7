"""The watch of Redis's memory: when nothing more is kept, what it says, and how it heals."""

from typing import Any, cast

import pytest
from redis.exceptions import OutOfMemoryError
from structlog.testing import capture_logs

from jackfield.redis.client import RedisClient
from jackfield.redis.memory import MemoryWatch
from jackfield.wire.errors import Error

LIMIT = 1000


class Client:
    """Masters of a Redis, by what they use; and whether they take writes."""

    def __init__(self, *used: int, policy: str = "noeviction", limit: int = LIMIT) -> None:
        self.used, self.policy, self.limit = list(used), policy, limit
        self.is_full = False

    async def execute_everywhere(self, *args: str) -> list[dict[str, Any]]:
        assert args == ("INFO", "memory")
        return [
            {"used_memory": used, "maxmemory": self.limit, "maxmemory_policy": self.policy}
            for used in self.used
        ]

    async def execute(self, *args: Any) -> None:
        assert args[:2] == ("SET", "probe")
        if self.is_full:
            raise Error("unavailable") from OutOfMemoryError("no room", status_code="OOM")


def watch(client: Client) -> MemoryWatch:
    return MemoryWatch(cast(RedisClient, client), "probe")


async def test_it_is_nearly_full_at_four_fifths_until_it_is_below_three_quarters() -> None:
    client = Client(799)
    memory = watch(client)
    seen = []
    for used in (799, 800, 760, 749, 760):
        client.used = [used]
        await memory.look()
        seen.append(memory.nearly_full)
    assert seen == [False, True, True, False, False]
    assert (memory.used, memory.maximum) == (760, LIMIT)


async def test_what_is_about_to_be_kept_counts_before_the_next_look() -> None:
    client = Client(700)
    memory = watch(client)
    await memory.look()
    tick = memory.tick
    seen = []
    for size in (99, 1):
        memory.spend(size)
        # Another tick: who has looked at it before looks again.
        seen.append((memory.nearly_full, memory.tick != tick))
    assert seen == [(False, False), (True, True)]


async def test_of_a_cluster_the_fullest_master_counts() -> None:
    memory = watch(Client(100, 850, 300))
    await memory.look()
    assert memory.nearly_full
    assert memory.used == 850


@pytest.mark.parametrize("client", [Client(990, policy="allkeys-lru"), Client(990, limit=0)])
async def test_without_a_limit_at_which_it_refuses_it_is_never_nearly_full(client: Client) -> None:
    memory = watch(client)
    await memory.look()
    memory.spend(10**9)
    assert not memory.nearly_full


async def test_that_it_refuses_writes_is_told_once_with_a_remedy() -> None:
    client = Client(1000)
    memory = watch(client)
    with capture_logs() as logs:
        seen = []
        for client.is_full, client.used in ((True, [1000]), (True, [1000]), (False, [10])):
            await memory.look()
            seen.append(memory.refusal)
        assert seen == ["OOM", "OOM", None]
    assert [line["event"] for line in logs] == [
        "Redis is nearly full: clients keep nothing more",
        "Redis refuses writes",
        "Redis has room again",
        "Redis takes writes again",
    ]
    assert "redis.embedded_memory" in logs[1]["remedy"]


async def test_a_redis_that_is_away_is_not_one_that_refuses_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client(10)

    async def execute(*_: Any) -> None:
        raise Error("unavailable") from ConnectionError("gone")

    monkeypatch.setattr(client, "execute", execute)
    memory = watch(client)
    with pytest.raises(Error, match="unavailable"):
        await memory.look()
    assert memory.refusal is None
