"""What `jackfield.redis.client` promises: right answers or `unavailable`, in time, never twice."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import DataError, ResponseError

from jackfield.redis.client import RedisClient, Script
from jackfield.redis.embedded import embedded_valkey
from jackfield.redis.servers import HiredisPool, OneServer
from jackfield.wire.errors import Error
from tests.support.waiting import redis_settings, wait_until

#: Seconds, where no answer is expected.
BRIEF = 0.2

PAIR = Script("return {KEYS[1], ARGV[1]}")


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator[RedisClient]:
    client = RedisClient(redis_settings(), valkey_url)
    yield client
    await client.close()


@pytest.fixture
async def own_url() -> AsyncIterator[str]:
    """The address of a Valkey of the test's own, to do bad things to."""
    async with embedded_valkey() as url:
        yield url


@pytest.fixture
async def own(own_url: str) -> AsyncIterator[RedisClient]:
    client = RedisClient(redis_settings(), own_url)
    yield client
    await client.close()


@pytest.fixture
def key() -> str:
    return f"test:{secrets.token_hex(8)}"


async def pid_of(client: RedisClient) -> int:
    return int((await client.execute("INFO", "server"))["process_id"])


def pool_of(client: RedisClient) -> HiredisPool:
    assert isinstance(client._servers, OneServer)
    return client._servers.pool


async def connection_of(client: RedisClient) -> AbstractConnection:
    """Take a connection out of a client's pool."""
    pool = pool_of(client)
    return await pool.get_connection()  # type: ignore[no-untyped-call, no-any-return]


async def read(link: AbstractConnection) -> Any:
    """What comes next over a link."""
    async with asyncio.timeout(10):
        return await link.read_response()


def assert_unavailable(error: Error) -> None:
    assert error.code == "unavailable"
    assert error.as_dict()["retry_after"] > 0


async def test_replies_are_bytes(client: RedisClient, key: str) -> None:
    await client.execute("HSET", key, "a", "ä", "b", b"\xff")
    assert await client.execute("HGETALL", key) == {b"a": "ä".encode(), b"b": b"\xff"}


async def test_a_script_gets_its_keys_and_arguments(client: RedisClient, key: str) -> None:
    assert await client.run(PAIR, [key], ["x"]) == [key.encode(), b"x"]


async def test_a_script_is_known_again_after_the_server_forgot_it(own: RedisClient) -> None:
    for _ in range(2):
        await own.execute("SCRIPT FLUSH")
        assert await own.run(PAIR, ["a"], ["b"]) == [b"a", b"b"]
        assert await own.execute("SCRIPT EXISTS", PAIR.sha) == [True]


async def test_what_is_wrong_with_a_command_is_raised_as_it_is(
    client: RedisClient, key: str
) -> None:
    await client.execute("SET", key, "text")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await client.execute("HGETALL", key)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await client.run(Script("return redis.call('HGETALL', KEYS[1])"), [key])
    with pytest.raises(DataError):
        await client.execute("SET", key, object())  # type: ignore[arg-type]


async def test_an_absent_server_is_unavailable(tmp_path: Path) -> None:
    client = RedisClient(redis_settings(), f"unix://{tmp_path}/none.sock")
    with pytest.raises(Error) as caught:
        await client.execute("PING")
    assert_unavailable(caught.value)
    assert caught.value.__cause__ is not None
    assert not await client.ping()


async def test_a_server_that_hangs_is_unavailable_and_then_answers_everyone_rightly(
    own: RedisClient, own_url: str, stack: AsyncExitStack
) -> None:
    brief = RedisClient(redis_settings(timeout=BRIEF), own_url)
    stack.push_async_callback(brief.close)
    assert await brief.ping()
    pid = await pid_of(own)
    os.kill(pid, signal.SIGSTOP)
    failures = await asyncio.gather(
        *(brief.execute("ECHO", f"lost {number}") for number in range(20)), return_exceptions=True
    )
    os.kill(pid, signal.SIGCONT)
    for failure in failures:
        assert isinstance(failure, Error)
        assert_unavailable(failure)
    await wait_until(brief.ping)
    words = [f"word {number}".encode() for number in range(100)]
    answers = await asyncio.gather(*(own.execute("ECHO", word) for word in words))
    assert answers == words
    for word in words:
        assert await brief.execute("ECHO", word) == word


async def test_a_command_whose_reply_is_lost_is_not_sent_again(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    received = 0

    async def hang_up_on_incr(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        while line := await reader.readline():
            if line == b"INCR\r\n":
                received += 1
                break
            if line == b"CLIENT\r\n":  # what it says of itself when it connects
                writer.write(b"+OK\r\n")
        writer.close()

    server = await asyncio.start_unix_server(hang_up_on_incr, tmp_path / "socket")
    await stack.enter_async_context(server)
    client = RedisClient(redis_settings(), f"unix://{tmp_path}/socket")
    stack.push_async_callback(client.close)
    with pytest.raises(Error) as caught:
        await client.execute("INCR", "key")
    assert_unavailable(caught.value)
    assert received == 1


async def test_a_cancelled_call_leaves_no_reply_to_the_next(
    client: RedisClient, valkey_url: str, stack: AsyncExitStack, key: str
) -> None:
    single = RedisClient(redis_settings(pool=1), valkey_url)
    stack.push_async_callback(single.close)
    call = asyncio.create_task(single.execute("BLPOP", key, 0))
    await wait_until(lambda: has_blocked(client))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await client.execute("RPUSH", key, "for the cancelled")
    assert await single.execute("ECHO", "mine") == b"mine"


async def has_blocked(client: RedisClient) -> bool:
    """Whether somebody waits for an element of a list."""
    return int((await client.execute("INFO", "clients"))["blocked_clients"]) > 0


async def test_a_restarted_server_answers_the_first_call(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    socket = tmp_path / "socket"
    client = RedisClient(redis_settings(pool=2), f"unix://{socket}")
    stack.push_async_callback(client.close)
    for _ in range(2):
        async with embedded_valkey() as url:
            socket.symlink_to(url.removeprefix("unix://"))
            await asyncio.gather(*(client.execute("PING") for _ in range(2)))
        assert not await client.ping()
        socket.unlink()


async def test_a_used_up_pool_is_unavailable(
    valkey_url: str, stack: AsyncExitStack, key: str
) -> None:
    client = RedisClient(redis_settings(timeout=BRIEF, pool=1), valkey_url)
    stack.push_async_callback(client.close)
    connection = await connection_of(client)
    with pytest.raises(Error) as caught:
        await client.execute("GET", key)
    assert_unavailable(caught.value)
    await pool_of(client).release(connection)
    assert await client.execute("GET", key) is None


async def test_a_used_up_pool_does_not_stop_a_link(
    client: RedisClient, valkey_url: str, stack: AsyncExitStack, key: str
) -> None:
    busy = RedisClient(redis_settings(pool=1), valkey_url)
    stack.push_async_callback(busy.close)
    connection = await connection_of(busy)
    stack.push_async_callback(pool_of(busy).release, connection)
    link = await busy.link("")
    stack.push_async_callback(link.disconnect)
    await link.send_command("SSUBSCRIBE", key)
    assert await read(link) == [b"ssubscribe", key.encode(), 1]
    assert await client.execute("SPUBLISH", key, "news") == 1
    assert await read(link) == [b"smessage", key.encode(), b"news"]


async def test_links_do_not_use_up_the_pool(
    valkey_url: str, stack: AsyncExitStack, key: str
) -> None:
    client = RedisClient(redis_settings(pool=1), valkey_url)
    stack.push_async_callback(client.close)
    for _ in range(3):
        link = await client.link(await client.shard(key))
        stack.push_async_callback(link.disconnect)
    assert await client.ping()


async def test_a_lost_link_is_told_as_unavailable(own: RedisClient, key: str) -> None:
    link = await own.link("")
    await link.send_command("SSUBSCRIBE", key)
    assert await read(link)
    os.kill(await pid_of(own), signal.SIGKILL)
    with pytest.raises(Error) as caught:
        async with own.bounded():
            await link.read_response()
    assert_unavailable(caught.value)


async def test_a_link_to_a_server_that_hangs_is_unavailable_and_leaves_nothing_open(
    own: RedisClient, own_url: str, stack: AsyncExitStack
) -> None:
    brief = RedisClient(redis_settings(timeout=BRIEF), own_url)
    stack.push_async_callback(brief.close)
    pid = await pid_of(own)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(Error) as caught:
        await brief.link("")
    os.kill(pid, signal.SIGCONT)
    assert_unavailable(caught.value)

    async def is_alone() -> bool:
        return int((await own.execute("INFO", "clients"))["connected_clients"]) == 1

    await wait_until(is_alone)


async def test_one_server_is_one_slot_and_one_shard(client: RedisClient) -> None:
    assert {client.slot(key) for key in ("a", "b", "{c}d")} == {0}
    assert {await client.shard(key) for key in ("a", "b", "{c}d")} == {""}
    await client.refresh_topology()


async def test_a_script_can_be_run_several_times_at_once(own: RedisClient) -> None:
    for _ in range(2):  # unknown to the server, and known
        replies = await own.run_each(PAIR, [(["a"], ["x"]), (["b"], ["y"])])
        assert replies == [[b"a", b"x"], [b"b", b"y"]]
    assert await own.run_each(PAIR, []) == []


async def test_of_several_runs_one_that_fails_is_raised_and_the_others_are_done(
    own: RedisClient,
) -> None:
    push = Script("return redis.call('RPUSH', KEYS[1], 'x')")
    await own.execute("SET", "text", "")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await own.run_each(push, [(["a"], []), (["text"], []), (["b"], [])])
    assert await own.execute("EXISTS", "a", "b") == 2


async def test_a_full_server_is_unavailable_for_writes(own: RedisClient) -> None:
    await own.execute("CONFIG SET", "maxmemory", 1)
    with pytest.raises(Error) as caught:
        await own.execute("SET", "key", "value")
    assert_unavailable(caught.value)
    with pytest.raises(Error) as caught:
        await own.run(Script("return redis.call('SET', KEYS[1], '')"), ["key"])
    assert_unavailable(caught.value)
    assert await own.execute("GET", "key") is None


async def test_a_replica_is_unavailable_for_writes(own: RedisClient) -> None:
    await own.execute("CONFIG SET", "replica-serve-stale-data", "yes")
    await own.execute("REPLICAOF", "127.0.0.1", 1)
    with pytest.raises(Error) as caught:
        await own.execute("SET", "key", "value")
    assert_unavailable(caught.value)


async def test_a_replica_without_its_primary_is_unavailable(own: RedisClient) -> None:
    await own.execute("CONFIG SET", "replica-serve-stale-data", "no")
    await own.execute("REPLICAOF", "127.0.0.1", 1)
    with pytest.raises(Error) as caught:
        await own.execute("GET", "key")
    assert_unavailable(caught.value)


@pytest.mark.parametrize("password", [None, "wrong"])
async def test_a_server_that_does_not_let_us_in_is_unavailable(
    own: RedisClient, own_url: str, stack: AsyncExitStack, password: str | None
) -> None:
    await own.execute("CONFIG SET", "requirepass", "right")
    client = RedisClient(redis_settings(password=password), own_url)
    stack.push_async_callback(client.close)
    with pytest.raises(Error) as caught:
        await client.execute("GET", "key")
    assert_unavailable(caught.value)


async def test_the_password_lets_us_in(
    own: RedisClient, own_url: str, stack: AsyncExitStack
) -> None:
    await own.execute("CONFIG SET", "requirepass", "right")
    client = RedisClient(redis_settings(password="right"), own_url)
    stack.push_async_callback(client.close)
    assert await client.ping()
    link = await client.link("")
    await link.send_command("SSUBSCRIBE", "channel")
    assert await read(link)
    await link.disconnect()
