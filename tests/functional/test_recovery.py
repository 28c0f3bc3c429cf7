"""Recovery: what was missed is had by `since` or the history, in order and once, or it is told."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from jackfield import Context, Plugin
from jackfield.testing import RunningServer
from tests.support.topics import (
    Ear,
    Member,
    Message,
    nodes,
    offsets,
    own_redis,
    position,
    serve_topics,
)
from tests.support.waiting import wait_until

Config = Mapping[str, Any]


async def publish(server: RunningServer, topic: str, count: int, **payload: Any) -> None:
    """Publish events from the server itself, which no limit keeps from it."""
    runtime = server.node.runtimes["topics"]
    await asyncio.gather(*(runtime.publish(topic, payload) for _ in range(count)))


async def test_since_brings_exactly_what_was_missed_and_events_go_on_from_there(
    config: Config,
) -> None:
    async with nodes(config) as (here, there), Member(here) as publisher:
        async with Member(here) as member:
            before = await member.subscribe("feed:a")
            await publish(here, "feed:a", 2)
            before["offset"] = offsets(await member.events("feed:a", 2))[-1]
        for number in range(5):
            await publisher.publish("feed:a", {"n": number})
        async with Member(there) as member:
            reply = await member.subscribe("feed:a", since=before)
            assert reply | {"events": []} == before | {
                "recovered": True,
                "offset": 7,
                "events": [],
            }
            assert [(each["offset"], each["payload"]["n"]) for each in reply["events"]] == [
                (number + 3, number) for number in range(5)
            ]
            assert {(each["type"], each["topic"]) for each in reply["events"]} == {
                ("event", "feed:a")
            }
            await publisher.publish("feed:a")
            assert offsets(await member.events("feed:a", 1)) == [8]
            assert await member.hears_nothing_more()


async def test_whoever_missed_nothing_recovers_nothing(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        await publish(server, "feed:a", 3)
        standing = await member.subscribe("feed:a")
        async with Member(server) as another:
            reply = await another.subscribe("feed:a", since=standing)
            assert reply == standing | {"recovered": True, "events": []}


@pytest.mark.parametrize(
    ("topic", "missed", "since"),
    [
        ("brief:a", 4, {"offset": 0}),  # keeps three
        ("fleeting:a", 1, {"offset": 0}),  # keeps none
        ("feed:a", 1, {"epoch": "another", "offset": 0}),
        ("feed:a", 1, {"epoch": "another", "offset": 1}),
        ("feed:a", 1, {"offset": 2}),  # of the future
        ("feed:a", 1, {"offset": 2**53 - 1}),
    ],
)
async def test_what_is_lost_is_said_to_be(
    config: Config, topic: str, missed: int, since: Message
) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        standing = await member.reply("topic.history", topic=topic)
        await publish(server, topic, missed)
        reply = await member.subscribe(topic, since=standing | since)
        assert reply == {"epoch": standing["epoch"], "offset": missed, "recovered": False}
        await publish(server, topic, 1)
        assert offsets(await member.events(topic, 1)) == [missed + 1]


async def test_the_oldest_event_that_is_kept_can_be_recovered(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        standing = await member.reply("topic.history", topic="brief:a")
        await publish(server, "brief:a", 5)
        reply = await member.subscribe("brief:a", since=standing | {"offset": 2})
        assert reply["recovered"]
        assert offsets(reply["events"]) == [3, 4, 5]


@pytest.mark.parametrize("subprotocol", ["jackfield.v1", "jackfield.v1.msgpack"])
async def test_more_than_fits_into_a_reply_is_read_from_the_history_in_parts(
    config: Config, subprotocol: str
) -> None:
    config = {**config, "limits": {"reply_bytes": 20_000, "event_bytes": 5_000}}
    async with serve_topics(config=config) as server:
        async with Member(server, subprotocol=subprotocol) as member:
            standing = await member.reply("topic.history", topic="feed:a")
            # As JSON 4 bytes a number, and 9 as MessagePack.
            await publish(server, "feed:a", 30, numbers=[0.5] * 400)
            reply = await member.subscribe("feed:a", since=position(standing))
            assert reply == position(standing) | {"offset": 30, "recovered": False}
            read: list[Message] = []
            while len(read) < 30:
                after = read[-1]["offset"] if read else standing["offset"]
                page = await member.reply("topic.history", topic="feed:a", after=after)
                assert page["epoch"] == standing["epoch"]
                assert page["events"]
                read += page["events"]
            assert offsets(read) == list(range(1, 31))
            newest = (await member.reply("topic.history", topic="feed:a"))["events"]
            assert newest == read[-len(newest) :]
            assert len(newest) < 15


async def test_an_event_that_no_reply_can_hold_is_refused_and_not_passed_over(
    config: Config,
) -> None:
    config = {**config, "limits": {"reply_bytes": 20_000, "event_bytes": 20_000}}
    async with serve_topics(config=config) as server, Member(server) as member:
        standing = await member.subscribe("feed:a")
        await publish(server, "feed:a", 1, text="x" * 19_500)
        assert offsets(await member.events("feed:a", 1)) == [1]
        for wanted in ({}, {"after": 0}):
            error = await member.error("topic.history", topic="feed:a", **wanted)
            assert error["code"] == "too_large"
        reply = await member.subscribe("feed:a", since=position(standing))
        assert reply["recovered"] is False


async def test_an_event_larger_than_a_page_fills_a_gap_all_the_same(config: Config) -> None:
    config = {**config, "limits": {"event_bytes": 400_000}}
    async with serve_topics(config=config) as server:
        ear = Ear(server)
        async with Member(server) as member:
            await member.subscribe("feed:a")
            ear.is_deaf = True
            await publish(server, "feed:a", 2, text="x" * 300_000)
            await wait_until(lambda: "feed:a" in ear.heard)
            ear.is_deaf = False
            await publish(server, "feed:a", 1)
            assert offsets(await member.events("feed:a", 3)) == [1, 2, 3]


async def test_the_history_is_read_from_either_end(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:

        async def read(**wanted: int) -> list[int]:
            page = await member.reply("topic.history", topic="brief:a", **wanted)
            assert page["offset"] == 6
            return offsets(page["events"])

        await publish(server, "brief:a", 6)  # of which it keeps three
        assert await read() == [4, 5, 6]
        assert await read(limit=2) == [5, 6]
        assert await read(before=6) == [4, 5]
        assert await read(before=6, limit=1) == [5]
        assert await read(before=4) == []
        assert await read(before=1) == []
        assert await read(before=100) == [4, 5, 6]
        assert await read(after=3) == [4, 5, 6]
        assert await read(after=3, limit=2) == [4, 5]
        assert await read(after=3, before=5) == [4]
        assert await read(after=4, before=5) == []
        assert await read(after=6) == []
        assert await read(after=100) == []
        error = await member.error("topic.history", topic="brief:a", after=2)
        assert error["code"] == "unrecoverable"
        assert error["topic"] == "brief:a"
        assert error["offset"] == 6
        assert not error["retryable"]


async def test_a_reply_has_no_more_events_than_the_limit_says(config: Config) -> None:
    config = {**config, "limits": {"history": 4}}
    async with serve_topics(config=config) as server, Member(server) as member:
        await publish(server, "feed:a", 10)
        page = await member.reply("topic.history", topic="feed:a", limit=100)
        assert offsets(page["events"]) == [7, 8, 9, 10]
        page = await member.reply("topic.history", topic="feed:a", after=0)
        assert offsets(page["events"]) == [1, 2, 3, 4]


@pytest.mark.parametrize("wanted", [{"after": -1}, {"before": 0}, {"limit": 0}, {"after": 1.5}])
async def test_no_history_is_read_by_nonsense(config: Config, wanted: dict[str, float]) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        error = await member.error("topic.history", topic="feed:a", **wanted)
        assert error["code"] == "invalid_payload"


async def test_what_a_user_missed_is_in_the_history_of_their_own_topic(config: Config) -> None:
    async with nodes(config) as (here, there):
        async with Member(here, "alice") as alice:
            left = alice.welcome["topics"]["user:alice"]
        for number in range(3):
            await here.node.runtimes["topics"].send_to_user("alice", {"n": number})
        async with Member(there, "alice") as alice:
            assert alice.welcome["topics"]["user:alice"] == left | {"offset": 3}
            page = await alice.reply("topic.history", topic="user:alice", after=left["offset"])
            assert [event["payload"]["n"] for event in page["events"]] == [0, 1, 2]
            assert page["epoch"] == left["epoch"]
            again = await alice.subscribe("user:alice", since=left)
            assert again["events"] == page["events"]


async def test_whoever_subscribes_again_goes_on_from_the_new_reply(config: Config) -> None:
    async with nodes(config) as (here, there), Member(there) as member:
        standing = await member.subscribe("feed:a")
        stop = asyncio.Event()

        async def keep_publishing() -> None:
            while not stop.is_set():
                await publish(here, "feed:a", 3)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_publishing())
            for _ in range(50):
                reply = await member.subscribe("feed:a", since=standing)
                member.inbox.clear()  # what came before the reply is in it
                assert reply["recovered"]
                expected = range(standing["offset"] + 1, reply["offset"] + 1)
                assert offsets(reply["events"]) == list(expected)
                live = await member.events("feed:a", 2)
                assert offsets(live) == [reply["offset"] + 1, reply["offset"] + 2]
                standing = position(reply)
            stop.set()


async def test_a_reply_that_takes_long_does_not_hide_what_came_meanwhile(config: Config) -> None:
    plugin = Plugin("slow")

    @plugin.handler("slow.join")
    async def join(ctx: Context, data: Any) -> dict[str, Any]:
        standing = await ctx.subscribe("feed:a")
        for number in range(5):
            await ctx.publish("feed:a", {"n": number})
        address = server.node.topics.find("feed:a")
        assert address is not None
        audience = server.node.topics.find_audience(address)
        assert audience is not None
        await wait_until(lambda: audience.position.offset == 5)
        return standing

    async with serve_topics(plugin, config=config) as server, Member(server) as member:
        assert (await member.reply("slow.join"))["offset"] == 0
        assert member.inbox == []  # behind the reply, not before it
        assert offsets(await member.events("feed:a", 5)) == [1, 2, 3, 4, 5]


async def test_a_flushed_redis_is_told_and_events_go_on_without_a_gap() -> None:
    async with own_redis() as (config, redis), nodes(config) as (here, there):
        async with Member(here) as publisher, Member(there) as member:
            await publisher.subscribe("feed:a")
            before = await member.subscribe("feed:a")
            await publish(here, "feed:a", 3)
            await member.events("feed:a", 3)
            await publisher.events("feed:a", 3)
            await redis.flushall()
            await publish(here, "feed:a", 2)
            for each in (publisher, member):
                lost = await each.next()
                assert lost["type"] == "error"
                assert lost["id"] is None
                error = lost["error"]
                assert (error["code"], error["topic"]) == ("unrecoverable", "feed:a")
                assert error["epoch"] != before["epoch"]
                rest = await each.events("feed:a", 2 - error["offset"])
                assert offsets(rest) == list(range(error["offset"] + 1, 3))
            standing = await member.reply("topic.history", topic="feed:a")
            assert position(standing) == {"epoch": error["epoch"], "offset": 2}
            reply = await publisher.subscribe("feed:a", since=before | {"offset": 3})
            assert not reply["recovered"]


async def test_a_flush_that_nobody_publishes_after_is_told_by_the_heartbeat() -> None:
    async with own_redis() as (config, redis), serve_topics(config=config) as server:
        async with Member(server) as member:
            await publish(server, "feed:a", 3)
            before = await member.subscribe("feed:a")
            await redis.flushall()
            await server.node.topics.refresh()
            told = [await member.next(), await member.next()]
            errors = {each["error"]["topic"]: each["error"] for each in told}
            assert set(errors) == {"feed:a", "broadcast"}
            assert errors["feed:a"]["offset"] == 0
            assert errors["feed:a"]["epoch"] != before["epoch"]
            await publish(server, "feed:a", 1)
            assert offsets(await member.events("feed:a", 1)) == [1]


async def test_another_server_process_begins_an_epoch_and_keeps_offsets_and_history(
    config: Config,
) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        await publish(server, "feed:a", 3)
        before = await member.subscribe("feed:a")
        await as_if_restarted(server, "feed:a")
        await publish(server, "feed:a", 2)
        error = (await member.next())["error"]
        assert (error["code"], error["offset"]) == ("unrecoverable", 3)
        assert error["epoch"] != before["epoch"]
        assert offsets(await member.events("feed:a", 2)) == [4, 5]
        async with Member(server) as late:
            assert not (await late.subscribe("feed:a", since=before))["recovered"]
            reply = await late.subscribe("feed:a", since=position(error))
            assert offsets(reply["events"]) == [4, 5]
            page = await late.reply("topic.history", topic="feed:a", after=0)
            assert offsets(page["events"]) == [1, 2, 3, 4, 5]


async def as_if_restarted(server: RunningServer, topic: str) -> None:
    """Have a topic look as after a restart: it was another process that counted its events."""
    address = server.node.topics.find(topic)
    assert address is not None
    await server.node.redis.execute("HSET", address.stored.keys.meta, "run", "another")


async def test_what_expired_is_told_and_offsets_go_on(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        standing = await member.subscribe("feed:a")
        await publish(server, "feed:a", 3)
        address = server.node.topics.find("feed:a")
        assert address is not None
        await server.node.redis.execute("PEXPIRE", address.stored.keys.log, 0)
        async with Member(server) as late:
            reply = await late.subscribe("feed:a", since=standing)
            assert reply == standing | {"offset": 3, "recovered": False}
            assert (await late.reply("topic.history", topic="feed:a"))["events"] == []
            await publish(server, "feed:a", 1)
            assert offsets(await late.events("feed:a", 1)) == [4]
        assert offsets(await member.events("feed:a", 4)) == [1, 2, 3, 4]


async def test_a_topic_whose_position_is_lost_begins_anew(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        await publish(server, "feed:a", 3)
        before = await member.subscribe("feed:a")
        address = server.node.topics.find("feed:a")
        assert address is not None
        await server.node.redis.execute("DEL", address.stored.keys.meta)
        await publish(server, "feed:a", 1)
        error = (await member.next())["error"]
        assert (error["code"], error["offset"]) == ("unrecoverable", 0)
        assert error["epoch"] != before["epoch"]
        events = await member.events("feed:a", 1)
        assert offsets(events) == [1]
        assert (await member.reply("topic.history", topic="feed:a"))["events"] == events


async def test_what_is_lost_before_a_slow_reply_is_told_behind_it(config: Config) -> None:
    plugin = Plugin("slow")

    @plugin.handler("slow.join")
    async def join(ctx: Context, data: Any) -> dict[str, Any]:
        standing = await ctx.subscribe("brief:a")
        address = server.node.topics.find("brief:a")
        assert address is not None
        audience = server.node.topics.find_audience(address)
        assert audience is not None
        ear.is_deaf = True
        await publish(server, "brief:a", 9)  # of which it keeps three
        await wait_until(lambda: "brief:a" in ear.heard)
        ear.is_deaf = False
        await publish(server, "brief:a", 1)
        await wait_until(lambda: audience.position.offset == 10)
        return standing

    async with serve_topics(plugin, config=config) as server:
        ear = Ear(server)
        async with Member(server) as member:
            assert (await member.reply("slow.join"))["offset"] == 0
            error = (await member.next())["error"]
            assert (error["code"], error["offset"]) == ("unrecoverable", 10)
            await publish(server, "brief:a", 1)
            assert offsets(await member.events("brief:a", 1)) == [11]


async def test_a_topic_with_members_does_not_expire(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        await member.subscribe("feed:a")
        address = server.node.topics.find("feed:a")
        assert address is not None
        redis: Any = server.node.redis
        await redis.execute("PEXPIRE", address.stored.keys.meta, 60_000)
        await server.node.topics.refresh()
        ttl = await redis.execute("PTTL", address.stored.keys.meta)
        assert 60_000 < ttl <= address.family.ttl * 1000
