"""What a client of a master with Sentinels promises: it finds the master, and the next one."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from jackfield.redis.client import RedisClient, Script
from jackfield.redis.servers import SentinelMaster
from jackfield.wire.errors import Error
from tests.support.valkey_sentinel import SERVICE, valkey_sentinel
from tests.support.valkeys import HOST, Valkey
from tests.support.waiting import is_served, wait_until

MakeClient = Callable[..., RedisClient]

PAIR = Script("return {KEYS[1], ARGV[1]}")
#: Seconds until a failover is through, on a busy machine.
FAILOVER = 30


def sentinels_of(client: RedisClient) -> Sentinel:
    assert isinstance(client._servers, SentinelMaster)
    return client._servers._sentinels


def ports_of(sentinels: Sentinel) -> set[int]:
    return {each.connection_pool.connection_kwargs["port"] for each in sentinels.sentinels}


async def has(valkey: Valkey, key: str) -> bool:
    return bool(await valkey.ask("EXISTS", key))


async def test_calls_and_links_go_to_the_master_and_follow_it_when_it_is_killed(
    make_client: MakeClient, stack: AsyncExitStack, name: str
) -> None:
    async with valkey_sentinel() as servers:
        client = make_client(servers.url)
        assert await client.ping()
        assert await client.run(PAIR, [name], ["x"]) == [name.encode(), b"x"]
        assert (client.slot(name), await client.shard(name)) == (0, "")
        await client.execute("SET", f"{name}:first", "")
        assert await has(servers.master, f"{name}:first")
        link = await client.link("")
        stack.push_async_callback(link.disconnect)
        await link.send_command("SSUBSCRIBE", name)
        assert await link.read_response() == [b"ssubscribe", name.encode(), 1]
        assert await client.execute("SPUBLISH", name, "news") == 1
        assert await link.read_response() == [b"smessage", name.encode(), b"news"]

        await servers.master.kill()
        with pytest.raises(Error):
            async with client.bounded():
                await link.read_response()
        failed = await asyncio.gather(*(is_served(client, name) for _ in range(30)))
        assert not any(failed)
        assert not await client.ping()
        with pytest.raises(Error):
            await client.link("")

        await wait_until(lambda: is_served(client, name), FAILOVER)
        assert await has(servers.replica, name)
        assert await client.run(PAIR, [name], ["y"]) == [name.encode(), b"y"]
        await client.refresh_topology()
        link = await client.link("")
        stack.push_async_callback(link.disconnect)
        await link.send_command("SSUBSCRIBE", name)
        assert await link.read_response() == [b"ssubscribe", name.encode(), 1]
        # Many that ask at once do not make it forget one.
        assert ports_of(sentinels_of(client)) == {each.port for each in servers.sentinels}


async def test_a_master_that_hangs_is_followed_though_a_sentinel_hangs_as_well(
    make_client: MakeClient, name: str
) -> None:
    async with valkey_sentinel() as servers:
        client = make_client(servers.url, timeout=0.5)
        await asyncio.gather(*(is_served(client, name) for _ in range(8)))
        with servers.sentinels[0].paused(), servers.master.paused():
            assert not await is_served(client, name)
            await wait_until(lambda: is_served(client, name), FAILOVER)
        # The former master wakes, and no connection that is left writes to it.
        await wait_until(lambda: is_replica(servers.master), FAILOVER)
        written = []
        for number in range(20):
            key = f"{name}:{number}"
            if await is_served(client, key):
                written.append(key)
                assert await has(servers.replica, key)
        assert written
        assert await is_served(client, name)


async def is_replica(valkey: Valkey) -> bool:
    try:
        role, *_ = await valkey.ask("ROLE")
    except (RedisError, OSError):  # Sentinels close its connections as they make it one
        return False
    return bool(role == b"slave")


async def test_a_master_that_has_become_a_replica_is_left(
    make_client: MakeClient, name: str
) -> None:
    async with valkey_sentinel() as servers:
        client = make_client(servers.url)
        await asyncio.gather(*(is_served(client, name) for _ in range(8)))
        await servers.sentinels[1].ask("SENTINEL FAILOVER", SERVICE)
        await servers.failed_over()
        await wait_until(lambda: is_replica(servers.master), FAILOVER)
        await wait_until(lambda: is_served(client, name), FAILOVER)
        assert await has(servers.replica, name)


async def test_a_master_that_says_it_is_none_is_not_used(
    make_client: MakeClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with valkey_sentinel() as servers:
        client = make_client(servers.url)
        discovered = []

        async def mistaken(self: Sentinel, service: str) -> tuple[str, int]:
            discovered.append(service)
            assert servers.replica.port is not None
            return HOST, servers.replica.port

        with monkeypatch.context() as patch:
            patch.setattr(Sentinel, "discover_master", mistaken)
            with pytest.raises(Error) as caught:
                await client.execute("GET", name)
        assert caught.value.code == "unavailable"
        assert discovered == [SERVICE]
        assert await is_served(client, name)


async def test_what_sentinels_do_not_know_is_unavailable(
    make_client: MakeClient, name: str
) -> None:
    async with valkey_sentinel() as servers:
        client = make_client(servers.url.replace(f"/{SERVICE}", "/another"))
        assert not await is_served(client, name)
    nobody = make_client(f"redis+sentinel://{HOST}:1,{HOST}:2/{SERVICE}")
    assert not await is_served(nobody, name)
    with pytest.raises(Error):
        await nobody.refresh_topology()


async def test_the_password_is_for_the_master_and_the_database_is_chosen(
    make_client: MakeClient, name: str
) -> None:
    async with valkey_sentinel(requirepass="right", masterauth="right") as servers:
        client = make_client(f"{servers.url}/3", password="right")
        assert await is_served(client, name)
        async with servers.master.connect() as redis:
            await redis.select(3)
            assert await redis.get(name) == b"written"
        assert not await is_served(make_client(servers.url, password="wrong"), name)


async def test_over_tls_sentinels_and_master_are_both_asked_by_it(make_client: MakeClient) -> None:
    url = "rediss+sentinel://user:p@a,b:1/s/2?ssl_ca_certs=/ca.pem&sentinel_password=q"
    client = make_client(url)
    servers = client._servers
    assert isinstance(servers, SentinelMaster)
    master: Any = servers.pool.make_connection()
    assert (master.username, master.password, master.db) == ("user", "p", 2)
    assert master.ssl_context.ca_certs == "/ca.pem"
    for sentinel in sentinels_of(client).sentinels:
        connection = sentinel.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        assert (connection.username, connection.password, connection.db) == (None, "q", 0)
        assert connection.ssl_context.ca_certs == "/ca.pem"
        assert (connection.host, connection.port) in {("a", 26_379), ("b", 1)}
