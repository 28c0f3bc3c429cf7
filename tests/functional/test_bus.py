"""The bus: channels that are listened to whatever happens, and gaps that are told and filled."""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from redis.asyncio import Redis

from jackfield.redis.bus import Bus
from jackfield.redis.client import RedisClient
from jackfield.testing import RunningServer
from jackfield.wire.errors import Error
from tests.support.topics import Ear, Member, nodes, offsets, own_redis, serve_topics
from tests.support.valkeys import single_valkey
from tests.support.waiting import redis_settings, wait_until

Config = Mapping[str, Any]


class Listener:
    """A bus, and what it has brought."""

    def __init__(self, client: RedisClient, prefix: str, interval: float = 60) -> None:
        self.prefix = prefix
        self.heard: list[tuple[str, bytes]] = []
        self.gaps: Counter[str] = Counter()
        self.client = client
        self.bus = Bus(
            client,
            lambda number: f"{prefix}:probe-{number}",
            interval=interval,
            on_message=lambda channel, data: self.heard.append((self.short(channel), data)),
            on_gap=lambda channel: self.gaps.update([self.short(channel)]),
        )

    def channel(self, name: str) -> str:
        return f"{self.prefix}:{name}"

    def short(self, channel: bytes) -> str:
        return channel.decode().removeprefix(f"{self.prefix}:")

    async def subscribe(self, name: str) -> None:
        await self.bus.subscribe(self.channel(name))

    def unsubscribe(self, name: str) -> None:
        self.bus.unsubscribe(self.channel(name))

    async def publish(self, name: str, data: str) -> int:
        return int(await self.client.execute("SPUBLISH", self.channel(name), data))


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator[RedisClient]:
    client = RedisClient(redis_settings(), valkey_url)
    yield client
    await client.close()


@pytest.fixture
async def listener(client: RedisClient) -> AsyncIterator[Listener]:
    listener = Listener(client, f"test-{secrets.token_hex(6)}")
    yield listener
    await listener.bus.close()


async def test_what_is_subscribed_is_heard_from_then_on_in_order(listener: Listener) -> None:
    await listener.subscribe("a")
    assert await listener.publish("b", "x") == 0
    for number in range(100):
        assert await listener.publish("a", str(number)) == 1
    await wait_until(lambda: len(listener.heard) == 100)
    assert listener.heard == [("a", b"%d" % number) for number in range(100)]
    listener.unsubscribe("a")

    async def is_unheard() -> bool:
        return await listener.publish("a", "late") == 0

    await wait_until(is_unheard)
    assert not listener.gaps
    assert listener.bus.channels == 0


async def test_subscribing_and_unsubscribing_at_random_ends_as_was_last_wanted(
    listener: Listener,
) -> None:
    await listener.subscribe("first")
    (link,) = listener.bus._links.values()
    connection = link._connection
    choose, names = random.Random(), [str(number) for number in range(8)]
    wanted: dict[str, asyncio.Task[None]] = {}
    for _ in range(1000):
        name = choose.choice(names)
        if name in wanted:
            wanted.pop(name).cancel()
            listener.unsubscribe(name)
        else:
            wanted[name] = asyncio.create_task(listener.subscribe(name))
        if choose.random() < 0.3:
            await asyncio.sleep(0)
        if choose.random() < 0.05:
            await listener.client.ping()
    await asyncio.gather(*wanted.values())
    assert listener.bus.channels == len(wanted) + 1

    async def is_as_wanted() -> bool:
        reached = {name for name in names if await listener.publish(name, "end")}
        return reached == set(wanted)

    await wait_until(is_as_wanted)
    for name in names:
        await listener.publish(name, "sure")
    await wait_until(lambda: {(name, b"sure") for name in wanted} <= set(listener.heard))
    assert not link._waiting
    await wait_until(lambda: not link._leaving)
    assert link._connection is connection  # none of it was taken for a lost channel


async def test_a_killed_link_is_made_anew_and_every_channel_is_a_suspect() -> None:
    async with own_redis() as (config, redis):
        client = RedisClient(redis_settings(), config["redis"]["url"])
        listener = Listener(client, "test")
        names = [str(number) for number in range(1500)]  # more than one write holds
        await asyncio.gather(*(listener.subscribe(name) for name in names))
        assert not listener.gaps
        await wait_until(lambda: listener.bus.healthy)
        await kill_links(redis)
        await wait_until(lambda: len(listener.gaps) == len(names))
        for name in names:
            await listener.publish(name, "again")
        await wait_until(lambda: len(listener.heard) == len(names))
        assert set(listener.gaps.values()) == {1}
        await listener.bus.close()
        await client.close()


async def test_a_channel_that_was_left_while_the_link_was_down_is_not_subscribed_again() -> None:
    async with own_redis() as (config, redis):
        client = RedisClient(redis_settings(), config["redis"]["url"])
        listener = Listener(client, "test")
        await listener.subscribe("kept")
        await listener.subscribe("left")
        await kill_links(redis)
        listener.unsubscribe("left")
        await wait_until(lambda: listener.gaps)
        assert listener.gaps == {"kept": 1}
        assert await listener.publish("left", "x") == 0
        await listener.bus.close()
        await client.close()


async def kill_links(redis: Redis) -> None:
    """Cut every link to pub/sub."""
    assert await redis.client_kill_filter(_type="pubsub") > 0


async def test_what_can_not_be_subscribed_in_time_is_unavailable_and_leaves_nothing() -> None:
    async with single_valkey() as valkey:
        client = RedisClient(redis_settings(timeout=0.2), valkey.url)
        listener = Listener(client, "test")

        async def is_subscribed(channel: str) -> bool:
            try:
                await listener.subscribe(channel)
            except Error:  # a busy machine takes longer than the timeout
                return False
            return True

        await wait_until(lambda: is_subscribed("a"))
        with valkey.paused():
            for number in range(3):
                with pytest.raises(Error, match="unavailable"):
                    await listener.subscribe(f"late-{number}")
                listener.unsubscribe(f"late-{number}")
        (link,) = listener.bus._links.values()
        assert not link._waiting
        assert listener.bus.channels == 1
        await wait_until(lambda: is_subscribed("b"))
        await wait_until(lambda: not link._leaving)
        assert await listener.publish("late-0", "x") == 0
        assert await listener.publish("b", "x") == 1
        await listener.bus.close()
        await client.close()


async def publish(server: RunningServer, topic: str, count: int) -> None:
    runtime = server.node.runtimes["topics"]
    await asyncio.gather(*(runtime.publish(topic, {}) for _ in range(count)))


async def test_a_killed_link_costs_no_event() -> None:
    async with own_redis() as (config, redis), nodes(config) as (here, there):
        async with Member(there) as member:
            await member.subscribe("feed:a")
            for killed in range(3):
                await publish(here, "feed:a", 10)
                await kill_links(redis)
                await publish(here, "feed:a", 10)
                events = await member.events("feed:a", 20)
                assert offsets(events) == list(range(killed * 20 + 1, killed * 20 + 21))
            assert await member.hears_nothing_more()
            assert there.node.topics.gaps > 0


async def test_where_the_history_is_too_short_the_gap_is_told() -> None:
    async with own_redis() as (config, redis), nodes(config) as (here, there):
        async with Member(there) as member:
            standing = await member.subscribe("brief:a")
            await kill_links(redis)
            await publish(here, "brief:a", 10)  # of which it keeps three
            error = (await member.next())["error"]
            assert (error["code"], error["topic"]) == ("unrecoverable", "brief:a")
            assert (error["epoch"], error["offset"]) == (standing["epoch"], 7)
            assert offsets(await member.events("brief:a", 3)) == [8, 9, 10]
            await publish(here, "brief:a", 1)
            assert offsets(await member.events("brief:a", 1)) == [11]


async def test_whoever_came_while_the_link_was_down_is_known_all_the_same() -> None:
    async with own_redis() as (config, redis), nodes(config) as (here, there):
        async with Member(here, "alice") as alice, Member(there, "bob") as bob:
            await alice.subscribe("room:a")
            await kill_links(redis)
            await bob.subscribe("room:a")
            users = set[str]()
            while "bob" not in users:  # by a list, or else by the change itself
                told = await alice.next()
                joined = [told["joined"]] if "joined" in told else told["members"]
                users |= {each["user"] for each in joined}
            assert users <= {"alice", "bob"}


async def test_what_a_channel_swallowed_is_found_by_the_heartbeat(config: Config) -> None:
    async with nodes(config) as (here, there):
        ear = Ear(there)
        async with Member(there) as member:
            await member.subscribe("feed:a")
            ear.is_deaf = True
            await publish(here, "feed:a", 3)
            await wait_until(lambda: "feed:a" in ear.heard)
            await there.node.topics.refresh()
            assert offsets(await member.events("feed:a", 3)) == [1, 2, 3]
            ear.is_deaf = False
            await publish(here, "feed:a", 1)
            assert offsets(await member.events("feed:a", 1)) == [4]


async def test_a_missing_event_is_refilled_as_soon_as_the_next_one_comes(config: Config) -> None:
    async with nodes(config) as (here, there):
        ear = Ear(there)
        async with Member(there) as member:
            await member.subscribe("feed:a")
            ear.is_deaf = True
            await publish(here, "feed:a", 3)
            await wait_until(lambda: "feed:a" in ear.heard)
            ear.is_deaf = False
            await publish(here, "feed:a", 1)
            assert offsets(await member.events("feed:a", 4)) == [1, 2, 3, 4]


async def test_more_than_a_page_is_refilled_to_whoever_reads(config: Config) -> None:
    async with nodes(config) as (here, there):
        ear = Ear(there)
        async with Member(there) as member:
            await member.subscribe("feed:a")
            ear.is_deaf = True
            runtime = here.node.runtimes["topics"]
            for _ in range(60):
                await runtime.publish("feed:a", {"text": "x" * 30_000})
            await wait_until(lambda: "feed:a" in ear.heard)
            await there.node.topics.refresh()
            assert offsets(await member.events("feed:a", 60)) == list(range(1, 61))


async def test_a_gap_is_filled_once_redis_is_back(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with nodes(config) as (here, there):
        ear = Ear(there)
        async with Member(there) as member:
            await member.subscribe("feed:a")
            ear.is_deaf = True
            await publish(here, "feed:a", 3)
            await wait_until(lambda: "feed:a" in ear.heard)
            ear.is_deaf = False
            failing = [Error("unavailable") for _ in range(2)]
            run = there.node.redis.run

            async def fail_twice(*args: Any) -> Any:
                if failing:
                    raise failing.pop()
                return await run(*args)

            monkeypatch.setattr(there.node.redis, "run", fail_twice)
            await publish(here, "feed:a", 1)
            assert offsets(await member.events("feed:a", 4)) == [1, 2, 3, 4]
            assert not failing


async def test_a_restarted_redis_is_told_and_events_go_on() -> None:
    async with single_valkey() as valkey:
        config = {"redis": {"url": valkey.url, "prefix": "test", "timeout": "500ms"}}
        async with serve_topics(config=config) as server, Member(server) as member:
            before = await member.subscribe("feed:a")
            await publish(server, "feed:a", 3)
            await member.events("feed:a", 3)
            await valkey.kill()
            await valkey.start()  # empty
            lost = [await member.next(), await member.next()]
            errors = {each["error"]["topic"]: each["error"] for each in lost}
            assert set(errors) == {"feed:a", "broadcast"}
            assert errors["feed:a"]["epoch"] != before["epoch"]
            await publish(server, "feed:a", 2)
            expected = errors["feed:a"]["offset"] + 1
            assert offsets(await member.events("feed:a", 2)) == [expected, expected + 1]
            assert await member.hears_nothing_more()
