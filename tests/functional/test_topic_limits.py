"""Topics within bounds: limits, and clients that do what nobody should."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from jackfield import AnyPayload, Context, Error, Plugin
from jackfield.testing import RunningServer
from tests.support.topics import Member, offsets, own_redis, position, serve_topics
from tests.support.valkeys import single_valkey
from tests.support.waiting import PROMPT, promptly, wait_until

Config = Mapping[str, Any]


def limited(config: Config, **limits: int) -> dict[str, Any]:
    return {**config, "limits": limits}


async def nothing_left(server: RunningServer) -> None:
    """Wait until a server without clients has nothing to do with any topic."""
    topics = server.node.topics
    await wait_until(lambda: not topics.audiences)
    assert topics.members == 0
    assert topics.bus.channels == 0


async def test_a_connection_is_in_a_bounded_number_of_topics(config: Config) -> None:
    async with serve_topics(config=limited(config, topics=3)) as server:
        async with Member(server, "alice") as alice, Member(server) as other:
            for number in range(3):  # beside its own and broadcast
                standing = await alice.subscribe(f"feed:{number}")
            error = await alice.error("topic.subscribe", topic="feed:3")
            assert error["code"] == "rate_limited"
            assert error["retryable"]
            assert error["retry_after"] > 0
            assert error["limit"] == 3
            # To subscribe again takes no other place, and to leave gives one back.
            await alice.subscribe("feed:0")
            await alice.subscribe("feed:2", since=position(standing))
            await alice.reply("topic.unsubscribe", topic="feed:1")
            await alice.subscribe("feed:3")
            await other.subscribe("feed:4")


async def test_what_is_refused_leaves_no_trace(config: Config) -> None:
    async with serve_topics(config=limited(config, topics=1)) as server, Member(server) as member:
        await member.subscribe("feed:a")
        for number in range(20):
            await member.error("topic.subscribe", topic=f"feed:{number}")
            await member.error("topic.subscribe", topic=f"closed:{number}")
            await member.error("topic.subscribe", topic=f"nowhere:{number}")
            await member.reply("topic.history", topic=f"feed:{number}")
            await member.reply("topic.presence", topic=f"room:{number}")
            await member.reply("topic.unsubscribe", topic=f"feed:{number}")
        assert server.node.topics.audiences == 2  # that one, and broadcast
        assert server.node.topics.bus.channels == 2


async def test_an_event_has_a_bounded_size(config: Config) -> None:
    async with serve_topics(config=limited(config, event_bytes=1024)) as server:
        async with Member(server) as member:
            await member.subscribe("feed:a")
            error = await member.error(
                "topic.publish", topic="feed:a", payload={"text": "x" * 1024}
            )
            assert (error["code"], error["limit"]) == ("too_large", 1024)
            assert not error["retryable"]
            with pytest.raises(Error, match="too_large") as caught:
                await server.node.runtimes["topics"].publish("feed:a", {"text": "é" * 500})
            assert caught.value.extra["limit"] == 1024
            await member.publish("feed:a", {"text": "x" * 900})
            assert offsets(await member.events("feed:a", 1)) == [1]


async def test_a_client_publishes_a_bounded_number_of_events_a_second(config: Config) -> None:
    async with serve_topics(config=limited(config, publishes_per_second=5)) as server:
        async with Member(server) as hasty, Member(server) as other:
            await other.subscribe("feed:a")
            ids = [await hasty.post("topic.publish", topic="feed:a", payload={}) for _ in range(50)]
            answers = {answer["id"]: answer for answer in [await hasty.receive() for _ in ids]}
            refused = [each["error"] for each in answers.values() if each["type"] == "error"]
            assert 5 <= len(ids) - len(refused) < 50
            assert {error["code"] for error in refused} == {"rate_limited"}
            assert all(0 < error["retry_after"] <= 1 for error in refused)
            # Another client has its own, and the server none.
            await other.publish("feed:a")
            runtime = server.node.runtimes["topics"]
            await asyncio.gather(*(runtime.publish("feed:b", {}) for _ in range(50)))

            async def may_again() -> bool:
                answer = await hasty.request("topic.publish", topic="feed:a", payload={})
                return bool(answer["type"] == "reply")

            await wait_until(may_again)


async def test_whoever_subscribes_and_goes_at_once_leaves_nothing(config: Config) -> None:
    async with serve_topics(config=config) as server:

        async def come_and_go(number: int) -> None:
            async with Member(server) as member:
                for name in range(number % 4):
                    await member.post("topic.subscribe", topic=f"room:{name}")
                member.socket.transport.abort()

        for _ in range(5):
            await asyncio.gather(*(come_and_go(number) for number in range(20)))
        await nothing_left(server)
        async with Member(server) as member:
            for name in range(4):
                await nobody_is_in(member, f"room:{name}")
            assert len(member.welcome["topics"]) == server.node.topics.audiences


async def nobody_is_in(member: Member, topic: str) -> None:
    """Wait until a topic has no members on any node."""

    async def is_empty() -> bool:
        return await count(member, topic) == 0

    await wait_until(is_empty)


async def count(member: Member, topic: str) -> int:
    """How many are in a topic on all nodes."""
    return int((await member.reply("topic.presence", topic=topic))["count"])


async def test_a_thousand_flips_end_as_the_last_one_says(config: Config) -> None:
    async with serve_topics(config=config) as server:
        async with Member(server, "alice") as alice, Member(server, "bob") as bob:
            await bob.reply("topic.presence", topic="room:a")
            for flip in range(1000):
                verb = "topic.unsubscribe" if flip % 2 else "topic.subscribe"
                await alice.post(verb, topic=f"room:{'ab'[flip % 3 == 0]}")
            await alice.reply("session.ping")
            for topic in ("room:a", "room:b"):
                await alice.reply("topic.unsubscribe", topic=topic)
                await nobody_is_in(bob, topic)
            alice.inbox.clear()
            await alice.subscribe("room:a")
            await bob.publish("room:a", {"n": 1})
            assert (await alice.events("room:a", 1))[0]["payload"] == {"n": 1}
        await nothing_left(server)


async def test_a_cancelled_subscription_is_none() -> None:
    async with single_valkey() as valkey:
        config = {"redis": {"url": valkey.url, "prefix": "test", "timeout": "5s"}}
        async with serve_topics(config=config) as server:
            async with Member(server, "alice") as alice, Member(server, "bob") as bob:
                await alice.subscribe("room:known")
                with valkey.paused():
                    for topic in ("room:new", "room:known"):
                        waiting = await bob.post("topic.subscribe", topic=topic)
                        assert await bob.reply("request.cancel", id=waiting) == {"cancelled": True}
                        answer = await bob.answer(waiting)
                        assert answer["error"]["code"] == "cancelled"
                await nobody_is_in(bob, "room:new")

                async def alice_is_alone() -> bool:
                    present = await bob.reply("topic.presence", topic="room:known")
                    return [each["user"] for each in present["members"]] == ["alice"]

                # What was under way to Redis is undone there by what follows it.
                await wait_until(alice_is_alone)
                await alice.publish("room:known")
                await alice.publish("room:new")
                assert await bob.hears_nothing_more()
                assert server.node.topics.audiences == 4  # two users, broadcast, and that one
            await nothing_left(server)


async def test_without_redis_nobody_joins_and_nothing_is_left() -> None:
    async with single_valkey() as valkey:
        config = {"redis": {"url": valkey.url, "prefix": "test", "timeout": "200ms"}}
        async with serve_topics(config=config) as server:
            async with Member(server, "alice") as alice:
                await alice.subscribe("feed:open")
                with valkey.paused():
                    for verb in ("topic.subscribe", "topic.history", "topic.presence"):
                        error = await alice.error(verb, topic="room:new")
                        assert error["code"] == "unavailable"
                        assert error["retryable"]
                        assert error["retry_after"] > 0
                    error = await alice.error("topic.publish", topic="feed:a", payload={})
                    assert error["code"] == "unavailable"
                    # What is open already can be left and joined without.
                    await alice.subscribe("feed:open")
                    await alice.reply("topic.unsubscribe", topic="feed:open")
                    gone = Member(server, "bob")
                    assert server.node.topics.audiences == 2
                await nobody_is_in(alice, "room:new")
            async with gone as bob:
                await bob.subscribe("room:new")
            await nothing_left(server)


async def test_a_client_that_goes_while_redis_is_away_leaves_nothing_behind() -> None:
    async with single_valkey() as valkey:
        config = {"redis": {"url": valkey.url, "prefix": "test", "timeout": "200ms"}}
        async with serve_topics(config=config) as server:
            async with Member(server, "alice") as alice, Member(server, "bob") as bob:
                await alice.subscribe("room:a")
                await bob.subscribe("room:a")
                with valkey.paused():
                    await bob.post("topic.subscribe", topic="room:b")
                    bob.socket.transport.abort()
                    await wait_until(lambda: server.node.topics.audiences == 3)
                await server.node.topics.refresh()
                present = await alice.reply("topic.presence", topic="room:a")
                assert [each["user"] for each in present["members"]] == ["alice"]
                await nobody_is_in(alice, "room:b")
            await nothing_left(server)


async def test_a_join_whose_reply_fails_makes_no_member(config: Config) -> None:
    plugin = Plugin("failing")

    @plugin.handler("failing.raise")
    async def fail(ctx: Context, data: Any) -> None:
        await ctx.subscribe("room:a")
        raise Error("conflict")

    @plugin.handler("failing.encode")
    async def return_nonsense(ctx: Context, data: Any) -> dict[str, Any]:
        return {"a": await ctx.subscribe("room:a"), "b": object()}

    @plugin.handler("failing.size")
    async def return_too_much(ctx: Context, data: Any) -> dict[str, Any]:
        return {"a": await ctx.subscribe("room:a"), "b": "x" * 600_000}

    @plugin.handler("failing.time", timeout="100ms")
    async def hang(ctx: Context, data: Any) -> None:
        await ctx.subscribe("room:a")
        await asyncio.Event().wait()

    async with serve_topics(plugin, config=config) as server:
        async with Member(server, "alice") as alice, Member(server, "bob") as bob:
            for verb, code in (
                ("failing.raise", "conflict"),
                ("failing.encode", "internal"),
                ("failing.size", "too_large"),
                ("failing.time", "timeout"),
            ):
                assert (await alice.error(verb))["code"] == code
                await nobody_is_in(bob, "room:a")
            await bob.publish("room:a")
            assert await alice.hears_nothing_more()
            # One that is a member already stays one.
            await alice.subscribe("room:a")
            for verb in ("failing.raise", "failing.encode"):
                await alice.error(verb)
            await bob.publish("room:a")
            assert offsets(await alice.events("room:a", 1)) == [2]
            assert await count(bob, "room:a") == 1
        await nothing_left(server)


async def test_a_hook_that_fails_makes_no_member_and_no_topic(config: Config) -> None:
    plugin = Plugin("hooks")
    family = plugin.topic("odd:{name}", AnyPayload, history=5, ttl="1h", presence=True)

    @family.info
    async def fail(ctx: Context, name: str) -> dict[str, Any]:
        raise RuntimeError("no looks today")

    async with serve_topics(plugin, config=config) as server, Member(server) as member:
        assert (await member.error("topic.subscribe", topic="odd:a"))["code"] == "internal"
        assert server.node.topics.audiences == 1
        assert await count(member, "odd:a") == 0


async def test_whoever_has_gone_joins_nothing_any_more(config: Config) -> None:
    plugin = Plugin("late")
    left = asyncio.Event()

    @plugin.on_disconnect
    async def join(ctx: Context) -> None:
        await ctx.subscribe("room:a")
        left.set()

    async with serve_topics(plugin, config=config) as server, Member(server, "alice") as alice:
        async with Member(server, "bob"):
            pass
        await left.wait()
        await nobody_is_in(alice, "room:a")
        assert [connection.user for connection in server.node.hub] == ["alice"]
        await wait_until(lambda: server.node.topics.audiences == 2)


async def test_a_member_that_does_not_read_is_cut_off_and_delays_nobody(config: Config) -> None:
    limits = {"queue_bytes": 65_536, "reply_bytes": 65_536, "event_bytes": 32_768}
    # Bob is cut off by what waits for him, and not by the time that it has waited.
    small = {**config, "limits": {**limits, "write_timeout": f"{6 * PROMPT}s"}}
    async with serve_topics(config=small) as server, Member(server, "alice") as alice:
        async with Member(server, "bob") as bob:
            for member in (alice, bob):
                await member.subscribe("room:a")
            bob.socket.transport.pause_reading()
            runtime, sent = server.node.runtimes["topics"], 0
            async with promptly():
                while len(server.node.hub) == 2:
                    await runtime.publish("room:a", {"text": "x" * 20_000})
                    sent += 1
                    event = await alice.next()
                    while event["type"] == "presence":
                        event = await alice.next()
                    assert event["offset"] == sent
            assert sent > 2
            bob.socket.transport.abort()

        async def is_alone() -> bool:
            return await count(alice, "room:a") == 1

        await wait_until(is_alone)


async def test_every_key_of_topics_expires() -> None:
    async with own_redis() as (config, redis), serve_topics(config=config) as server:
        async with Member(server, "alice") as alice, Member(server) as other:
            for member in (alice, other):
                for topic in ("room:a", "feed:a", "brief:a", "fleeting:a", "news:a"):
                    standing = await member.subscribe(topic)
                    await member.subscribe(topic, since=standing)
                    await member.reply("topic.history", topic=topic)
                await member.publish("room:a", {}, key="once")
                await member.publish("fleeting:a", {}, key="once")
                await member.reply("topic.presence", topic="room:nobody")
            await server.node.topics.refresh()
            keys = await redis.keys("*{t:*")
            for kind in (":meta", ":log", ":once:", ":nodes", ":here:", ":who", ":info"):
                assert any(kind in str(key) for key in keys), kind
            for key in keys:
                assert await redis.pttl(key) > 0, key
