"""What the other tests rely on when they break the line to Redis."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.support.proxy import Proxy, proxied
from tests.support.valkeys import Valkey
from tests.support.waiting import wait_until

BRIEF = 0.2  # seconds: how long to see that nothing comes


def client_of(url: str, *, timeout: float | None = None) -> Redis:
    retry = Retry(NoBackoff(), 0)
    return Redis.from_url(url, protocol=2, retry=retry, socket_timeout=timeout)


@pytest.fixture
async def direct(valkey: Valkey) -> AsyncIterator[Redis]:
    async with valkey.connect() as redis:
        yield redis


@pytest.fixture
def key() -> str:
    return f"test:{secrets.token_hex(8)}"


async def test_it_forwards_both_ways_whatever_the_size(proxy: Proxy, key: str) -> None:
    async with client_of(proxy.url) as redis:
        value = secrets.token_bytes(3_000_000)
        await redis.set(key, value)
        assert await redis.getdel(key) == value


async def test_a_redis_on_tcp_is_reached_too(proxy: Proxy, key: str) -> None:
    async with proxied(proxy.url) as second, client_of(second.url) as redis:
        assert await redis.set(key, 1)
        assert await redis.getdel(key) == b"1"


async def test_a_cut_breaks_every_connection_and_new_ones_work(proxy: Proxy, key: str) -> None:
    async with client_of(proxy.url) as redis, redis.pubsub() as subscriber:
        await subscriber.subscribe(key)
        assert await subscriber.get_message(timeout=5) is not None
        assert proxy.cut() == proxy.connections() == 1
        with pytest.raises(RedisConnectionError):
            await subscriber.get_message(timeout=5)
        assert await redis.ping()


async def test_a_cut_can_be_for_one_kind_of_connection(proxy: Proxy, key: str) -> None:
    async with client_of(proxy.url) as redis, redis.pubsub() as subscriber:
        await subscriber.subscribe(key)
        assert await subscriber.get_message(timeout=5) is not None
        client = await redis.client_id()
        assert proxy.cut("SUBSCRIBE") == 1
        with pytest.raises(RedisConnectionError):
            await subscriber.get_message(timeout=5)
        assert await redis.client_id() == client


async def test_what_is_late_comes_in_its_order_and_only_where_it_shall(
    proxy: Proxy, key: str
) -> None:
    loop = asyncio.get_running_loop()
    async with client_of(proxy.url) as redis, redis.pubsub() as subscriber:
        await subscriber.subscribe(key)
        assert await subscriber.get_message(timeout=5) is not None
        proxy.lag(BRIEF, "SUBSCRIBE")
        begin = loop.time()
        for number in range(3):
            assert await redis.publish(key, number) == 1
        heard = [await subscriber.get_message(timeout=5) for _ in range(3)]
        assert loop.time() - begin >= BRIEF
        assert [message and message["data"] for message in heard] == [b"0", b"1", b"2"]
        proxy.lag(0, "SUBSCRIBE")
        proxy.lag(BRIEF)
        begin = loop.time()
        assert await redis.publish(key, "late") == 1
        assert loop.time() - begin >= BRIEF


async def test_while_it_refuses_nobody_connects(proxy: Proxy) -> None:
    async with client_of(proxy.url) as redis:
        proxy.refuse()
        with pytest.raises(RedisConnectionError):
            await redis.ping()
        proxy.accept()
        assert await redis.ping()


async def test_without_a_redis_behind_it_connections_break(tmp_path: object) -> None:
    async with proxied(f"unix://{tmp_path}/none.sock") as proxy, client_of(proxy.url) as redis:
        with pytest.raises(RedisConnectionError):
            await redis.ping()


async def test_a_black_hole_answers_nothing_and_closes_nothing(
    proxy: Proxy, direct: Redis, key: str
) -> None:
    async with client_of(proxy.url, timeout=BRIEF) as redis:
        assert await redis.ping()
        proxy.black_hole()
        with pytest.raises(RedisTimeoutError):
            await redis.set(key, 1)
        assert await direct.get(key) is None
        proxy.heal()
        assert await redis.set(key, 2)
        assert await direct.getdel(key) == b"2"


async def test_a_black_hole_swallows_what_the_server_sends(
    proxy: Proxy, direct: Redis, key: str
) -> None:
    async with client_of(proxy.url) as redis, redis.pubsub() as subscriber:
        await subscriber.subscribe(key)
        assert await subscriber.get_message(timeout=5) is not None
        proxy.black_hole("SUBSCRIBE")
        assert await direct.publish(key, "lost") == 1
        assert await subscriber.get_message(timeout=BRIEF) is None
        assert await redis.ping()
        proxy.heal()
        with pytest.raises(RedisConnectionError):
            await subscriber.get_message(timeout=5)


async def test_new_connections_fall_into_the_black_hole_until_it_heals(
    proxy: Proxy, key: str
) -> None:
    async with client_of(proxy.url) as redis:
        proxy.black_hole("SUBSCRIBE")
        async with redis.pubsub() as subscriber:
            await subscriber.subscribe(key)
            assert await subscriber.get_message(timeout=BRIEF) is None
        assert await redis.ping()
        proxy.heal()
        async with redis.pubsub() as subscriber:
            await subscriber.subscribe(key)
            assert await subscriber.get_message(timeout=5) is not None


async def test_a_stranded_connection_is_silent_and_new_ones_are_not(
    proxy: Proxy, direct: Redis, key: str
) -> None:
    async with client_of(proxy.url) as redis, redis.pubsub() as subscriber:
        await subscriber.subscribe(key)
        assert await subscriber.get_message(timeout=5) is not None
        assert proxy.strand("SUBSCRIBE") == 1
        assert await direct.publish(key, "lost") == 1
        assert await subscriber.get_message(timeout=BRIEF) is None
        async with redis.pubsub() as another:
            await another.subscribe(key)
            assert await another.get_message(timeout=5) is not None
        proxy.heal()
        with pytest.raises(RedisConnectionError):
            await subscriber.get_message(timeout=5)


async def test_a_server_that_goes_is_not_noticed_through_a_black_hole(
    proxy: Proxy, direct: Redis
) -> None:
    async with client_of(proxy.url, timeout=BRIEF) as redis:
        client = await redis.client_id()
        proxy.black_hole()
        assert await direct.client_kill_filter(_id=str(client)) == 1
        with pytest.raises(RedisTimeoutError):
            await redis.ping()


async def test_a_request_has_run_when_its_reply_is_lost_and_only_that_one(
    proxy: Proxy, direct: Redis, key: str
) -> None:
    async with client_of(proxy.url) as redis:
        assert await redis.incr(key) == 1
        happened = proxy.cut_after_request(key.encode())
        assert await redis.ping()
        assert not happened.is_set()
        with pytest.raises(RedisConnectionError):
            await redis.incr(key)
        assert happened.is_set()
        assert await redis.incr(key) == 3
        await direct.delete(key)


async def test_of_a_pipeline_too_the_reply_is_lost(proxy: Proxy, direct: Redis, key: str) -> None:
    async with client_of(proxy.url) as redis:
        happened = proxy.cut_after_request(key.encode())
        pipeline = redis.pipeline(transaction=False)
        for _ in range(2):
            pipeline.incr(key)
        with pytest.raises(RedisConnectionError):
            await pipeline.execute()
        assert happened.is_set()
        assert await direct.get(key) == b"2"


async def test_a_script_has_run_when_its_reply_is_lost_even_if_it_was_unknown(
    proxy: Proxy, direct: Redis, key: str
) -> None:
    async with client_of(proxy.url) as redis:
        # The server is told the text only after it has said that it doesn't know the script.
        script = redis.register_script("return redis.call('INCR', KEYS[1])")
        proxy.cut_after_request(key.encode())
        with pytest.raises(RedisConnectionError):
            await script(keys=[key])
        assert await direct.getdel(key) == b"1"


async def test_no_connection_is_left_when_it_ends(valkey: Valkey, direct: Redis) -> None:
    async with proxied(valkey.url) as proxy, client_of(proxy.url) as redis:
        client = await redis.client_id()
    assert proxy.connections() == 0

    async def is_gone() -> bool:
        listed = await direct.client_list()
        return all(each["id"] != str(client) for each in listed)

    await wait_until(is_gone)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", proxy.port)
