"""A Redis that is full, or refuses writes: told once, in all places, and healed by itself."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from jackfield.client import ConnectionFailed
from jackfield.testing import RunningServer
from tests.support.topics import Member, own_redis, serve_topics
from tests.support.waiting import wait_until

#: Bytes: enough for Valkey itself, and soon full.
MEMORY = 2**23


@asynccontextmanager
async def server_and_redis(
    **sections: Mapping[str, Any],
) -> AsyncIterator[tuple[RunningServer, Redis]]:
    async with own_redis(**sections) as (config, redis):
        await redis.config_set("maxmemory", MEMORY)
        async with serve_topics(config=config) as server:
            await wait_until(lambda: server.node.memory.maximum == MEMORY)
            yield server, redis


async def fill(redis: Redis, share: float) -> None:
    """Fill it up to a share of its memory."""
    number = 0
    while int((await redis.info("memory"))["used_memory"]) < MEMORY * share:
        for _ in range(10):
            await redis.set(f"ballast:{number}", "x" * 10_000, ex=3600)
            number += 1


async def overfill(redis: Redis) -> None:
    """Fill it so that it refuses writes until it is emptied, however small they are."""
    await fill(redis, 0.95)
    await redis.config_set("maxmemory", MEMORY // 2)


async def empty(redis: Redis) -> None:
    await redis.delete(*[key async for key in redis.scan_iter("ballast*")])


async def readyz(server: RunningServer) -> tuple[int, str, list[str]]:
    async with aiohttp.ClientSession() as http, http.get(f"{server.address}/readyz") as response:
        body = await response.json()
        return response.status, body["status"], [each["reason"] for each in body["reasons"]]


async def metrics(server: RunningServer) -> dict[str, float]:
    async with aiohttp.ClientSession() as http, http.get(f"{server.address}/metrics") as response:
        lines = (await response.text()).splitlines()
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")
    }


async def test_a_nearly_full_redis_is_told_and_connections_go_on() -> None:
    async with server_and_redis() as (server, redis), Member(server, "alice") as alice:
        with capture_logs() as logs:
            await fill(redis, 0.85)
            await wait_until(lambda: server.node.memory.nearly_full)
            error = await alice.error("topic.publish", topic="feed:a", payload={})
            assert error["code"] == "unavailable"
            async with Member(server, "bob") as bob:
                await bob.subscribe("room:a")
            assert await readyz(server) == (200, "degraded", ["redis_nearly_full"])
            told = await metrics(server)
            assert told["jackfield_redis_memory_max_bytes"] == MEMORY
            assert told["jackfield_redis_memory_used_bytes"] >= 0.8 * MEMORY
            assert told['jackfield_kept_refused_total{limit="redis_memory"}'] == 1
            assert told["jackfield_redis_writes_refused_total"] == 0
            await empty(redis)
            await wait_until(lambda: not server.node.memory.nearly_full)
        await alice.publish("feed:a", {})
        assert await readyz(server) == (200, "ready", [])
        lines = [line["event"] for line in logs if "Redis" in line["event"]]
        assert lines == ["Redis is nearly full: clients keep nothing more", "Redis has room again"]


@pytest.mark.parametrize(("configured", "status"), [("unavailable", 503), ("degraded", 200)])
async def test_a_full_redis_is_told_once_and_what_needs_no_write_goes_on(
    configured: str, status: int
) -> None:
    redis_section = {"readyz_when_full": configured}
    beating = {"heartbeat": "500ms", "ttl": "10s"}
    async with (
        server_and_redis(redis=redis_section, connections=beating) as (server, redis),
        Member(server, "alice") as alice,
    ):
        await alice.subscribe("room:a")
        await alice.publish("room:a", {"n": 1})
        with capture_logs() as logs:
            await overfill(redis)
            await wait_until(lambda: server.node.memory.refusal == "OOM")
            assert await readyz(server) == (status, configured, ["redis_full"])
            # What must write is refused, retryably; the rest is answered.
            with pytest.raises(ConnectionFailed) as refused:
                async with server.connect():
                    pass
            assert refused.value.status == 503
            error = await alice.error("topic.publish", topic="room:a", payload={})
            assert (error["code"], error["retryable"]) == ("unavailable", True)
            await alice.reply("session.ping")
            assert len((await alice.reply("topic.history", topic="room:a"))["events"]) == 1
            assert (await alice.reply("topic.presence", topic="room:a"))["count"] == 1
            await server.node.heartbeat.refresh()  # those that are there do not expire
            with contextlib.suppress(Exception):
                await server.node.heartbeat.refresh_topics()
            told = await metrics(server)
            assert told["jackfield_redis_writes_refused_total"] > 0
            used = told["jackfield_redis_memory_used_bytes"]
            assert used >= told["jackfield_redis_memory_max_bytes"] == MEMORY // 2
            await empty(redis)
            await wait_until(lambda: server.node.memory.refusal is None)
        await alice.publish("room:a", {"n": 2})
        async with server.connect() as another:
            assert await another.request("session.ping") == {}
        assert await readyz(server) == (200, "ready", [])
        full = [line for line in logs if line["event"] == "Redis refuses writes"]
        assert [line["cause"] for line in full] == ["OOM"]
        assert "redis.embedded_memory" in full[0]["remedy"]
        assert not [line for line in logs if line["event"] == "Redis is away"]
        assert [line["event"] for line in logs].count("Redis takes writes again") == 1


async def test_a_redis_that_refuses_writes_for_another_reason_is_told_by_its_name() -> None:
    async with server_and_redis() as (server, redis):
        with capture_logs() as logs:
            await redis.config_set("min-replicas-to-write", 1)
            await wait_until(lambda: server.node.memory.refusal == "NOREPLICAS")
            assert await readyz(server) == (503, "unavailable", ["redis_full"])
            await redis.config_set("min-replicas-to-write", 0)
            await wait_until(lambda: server.node.memory.refusal is None)
        (line,) = [line for line in logs if line["event"] == "Redis refuses writes"]
        assert "min-replicas-to-write" in line["remedy"]


async def test_a_redis_that_evicts_is_never_nearly_full() -> None:
    async with server_and_redis() as (server, redis), Member(server, "alice") as alice:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        await fill(redis, 0.9)
        await server.node.memory.look()
        assert not server.node.memory.nearly_full
        await alice.publish("feed:a", {})


async def test_the_embedded_valkey_has_the_memory_that_is_configured() -> None:
    config = {"redis": {"embedded_memory": 2**24}}
    async with serve_topics(config=config) as server:
        await server.node.memory.look()
        assert server.node.memory.maximum == 2**24
