"""Redis away, flushed or restarted under a running server."""

import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from jackfield import AnyPayload, Context, Plugin
from jackfield.client import ConnectionFailed, RequestError
from jackfield.redis.embedded import embedded_valkey
from jackfield.testing import RunningServer, run_server
from tests.support.connections import stored_connection
from tests.support.waiting import wait_until

state = Plugin("state")


@state.handler("state.set", AnyPayload)
async def write(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    await ctx.state.set(**data)
    return dict(ctx.state)


@state.handler("state.get")
async def read(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    return dict(ctx.state)


@asynccontextmanager
async def server_and_redis(
    **sections: dict[str, Any],
) -> AsyncIterator[tuple[RunningServer, Redis]]:
    """A server on a Valkey of its own, which a test may stop or flush."""
    async with embedded_valkey() as url, Redis.from_url(url, protocol=2) as redis:
        config = {
            "redis": {"url": url, "prefix": f"test-{secrets.token_hex(6)}", "timeout": "200ms"},
            **sections,
        }
        async with run_server(state, config=config) as server:
            yield server, redis


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process stands still, with its sockets open: nothing is refused, nothing answered."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def pid_of(redis: Redis) -> int:
    return int((await redis.info("server"))["process_id"])


async def test_without_redis_new_clients_get_503_and_the_others_go_on() -> None:
    async with server_and_redis() as (server, redis), aiohttp.ClientSession() as http:
        pid = await pid_of(redis)
        async with server.connect() as client:
            assert await client.request("state.set", {"a": 1}) == {"a": 1}
            with stopped(pid):
                with pytest.raises(ConnectionFailed) as refused:
                    async with server.connect():
                        pass
                assert refused.value.status == 503
                assert refused.value.retry_after is not None
                assert await client.request("session.ping", {"still": "here"}) == {"still": "here"}
                with pytest.raises(RequestError) as unavailable:
                    await client.request("state.set", {"a": 2})
                assert unavailable.value.code == "unavailable"
                assert unavailable.value.retryable
                assert unavailable.value.extra["retry_after"] > 0
                assert await client.request("state.get") == {"a": 1}
                async with http.get(f"{server.address}/readyz") as response:
                    assert response.status == 503
                    reasons = (await response.json())["reasons"]
                    assert [reason["reason"] for reason in reasons] == ["redis"]

            async def works_again() -> bool:
                try:
                    return await client.request("state.set", {"a": 3}) == {"a": 3}
                except RequestError:
                    return False

            await wait_until(works_again)
            async with server.connect() as another:
                assert await another.request("session.ping") == {}


async def test_a_flushed_redis_is_written_again_with_all_fields() -> None:
    async with server_and_redis() as (server, redis), server.connect() as client:
        await client.request("state.set", {"kept": "yes"})
        (connection,) = server.node.hub
        before = await stored_connection(server.node.redis, server.node.keys, connection.id)
        await redis.flushall()
        assert await stored_connection(server.node.redis, server.node.keys, connection.id) is None
        with capture_logs() as logs:
            await server.node.heartbeat.refresh()
        after = await stored_connection(server.node.redis, server.node.keys, connection.id)
        assert before is not None
        assert after is not None
        assert after["fields"] == before["fields"] == {"state.kept": b'"yes"'}
        assert logs[0]["count"] == 1


async def test_the_heartbeat_heals_a_flushed_redis_by_itself() -> None:
    beating = {"heartbeat": "500ms", "ttl": "2s"}
    async with server_and_redis(connections=beating) as (server, redis), server.connect() as client:
        before = await stored_connection(server.node.redis, server.node.keys, client.connection)
        await redis.flushall()

        async def is_back() -> bool:
            return (
                await stored_connection(server.node.redis, server.node.keys, client.connection)
                is not None
            )

        await wait_until(is_back)
        after = await stored_connection(server.node.redis, server.node.keys, client.connection)
        assert before is not None
        assert after is not None
        assert after["connected_at"] == before["connected_at"]


async def test_the_server_stops_cleanly_while_redis_is_away() -> None:
    async with embedded_valkey() as url, Redis.from_url(url, protocol=2) as redis:
        pid = await pid_of(redis)
        config = {"redis": {"url": url, "prefix": "test", "timeout": "200ms"}}
        with capture_logs() as logs:
            async with run_server(state, config=config) as server, server.connect():
                os.kill(pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGCONT)
        assert any("this node's state is left to its TTL" in each["event"] for each in logs)
        assert not [each for each in logs if each["log_level"] in ("error", "critical")]


async def test_every_key_of_a_running_server_has_a_ttl_and_none_is_left_when_it_stops() -> None:
    async with embedded_valkey() as url, Redis.from_url(url, protocol=2) as redis:
        config = {"redis": {"url": url, "prefix": "test"}}
        async with run_server(state, config=config) as server:
            async with server.connect() as client, server.connect():
                await client.request("state.set", {"a": 1})
                await server.node.heartbeat.refresh()
                keys = await redis.keys("*")
                assert any(b":conn:" in key for key in keys)
                for key in keys:
                    assert await redis.pttl(key) > 0, key
        left = [key for key in await redis.keys("*") if b":{t:" not in key]  # topics outlive it
        assert [key for key in left if b"nodes" not in key] == []
