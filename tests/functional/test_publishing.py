"""Publishing: joined into few calls, idempotent by key, encoded once, heard where it is wanted."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from jackfield import Context, Plugin
from jackfield.wire import protocol
from tests.support.topics import Ear, Member, nodes, offsets, own_redis, serve_topics
from tests.support.wire import Wire

Config = Mapping[str, Any]


async def test_what_is_published_in_one_turn_goes_to_redis_in_one_call() -> None:
    plugin = Plugin("burst")

    @plugin.handler("burst.all")
    async def burst(ctx: Context, data: Any) -> dict[str, Any]:
        sent = await asyncio.gather(
            *(ctx.publish(f"feed:{n % 3}", {"n": n}) for n in range(60)), ctx.broadcast({})
        )
        return {"offsets": [position.offset for position in sent]}

    async with own_redis(redis={"probe": "1h"}) as (config, redis):
        async with serve_topics(plugin, config=config) as server, Member(server) as member:
            await member.subscribe("feed:0")
            await member.reply("burst.all")
            before = await calls(redis)
            assert (await member.reply("burst.all"))["offsets"] == [
                *(21 + n // 3 for n in range(60)),
                2,
            ]
            after = await calls(redis)
            assert after["evalsha"] - before["evalsha"] == 1
            assert after["spublish"] - before["spublish"] == 4  # one a topic, of any number


async def test_what_a_client_publishes_without_waiting_goes_in_few_calls_and_in_order() -> None:
    async with own_redis(redis={"probe": "1h"}) as (config, redis):
        async with serve_topics(config=config) as server, Member(server) as member:
            await member.publish("feed:a", {"n": -1})
            await member.subscribe("feed:a")
            before = await calls(redis)
            ids = [
                await member.post("topic.publish", topic="feed:a", payload={"n": number})
                for number in range(50)
            ]
            events = [await member.next() for _ in range(100)]
            assert {each["id"] for each in events if each["type"] == "reply"} == set(ids)
            events = [each for each in events if each["type"] == "event"]
            assert [each["payload"]["n"] for each in events] == list(range(50))
            assert offsets(events) == list(range(2, 52))
            assert (await calls(redis))["evalsha"] - before["evalsha"] < 25


async def calls(redis: Redis) -> dict[str, int]:
    """How often each command was called."""
    statistics = await redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in statistics.items()}


async def test_a_key_makes_publishing_idempotent(config: Config) -> None:
    async with serve_topics(config=config) as server:
        async with Member(server, "alice") as alice, Member(server, "bob") as bob:
            await alice.subscribe("feed:a")
            first = await alice.publish("feed:a", {"n": 1}, key="k")
            assert await alice.publish("feed:a", {"n": 1}, key="k") == first
            second = await alice.publish("feed:a", {"n": 2})
            assert await alice.publish("feed:a", {"n": "again"}, key="k") == first
            assert second["offset"] == 2
            # The keys of others, of other topics and of the server are others.
            assert (await bob.publish("feed:a", {"n": 3}, key="k"))["offset"] == 3
            assert (await alice.publish("feed:b", {}, key="k"))["offset"] == 1
            runtime = server.node.runtimes["topics"]
            fourth = await runtime.publish("feed:a", {"n": 4}, key="k")
            assert fourth.offset == 4
            assert await runtime.publish("feed:a", {"n": 5}, key="k") == fourth
            events = await alice.events("feed:a", 4)
            assert [event["payload"]["n"] for event in events] == [1, 2, 3, 4]
            assert (await alice.reply("topic.history", topic="feed:a"))["events"] == events
            assert await alice.hears_nothing_more()


async def test_the_same_key_twice_in_one_call_publishes_once(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        await member.subscribe("feed:a")
        runtime = server.node.runtimes["topics"]
        sent = await asyncio.gather(
            *(runtime.publish("feed:a", {"n": n}, key=f"k{n % 2}") for n in range(6))
        )
        assert [position.offset for position in sent] == [1, 2, 1, 2, 1, 2]
        assert [each["payload"]["n"] for each in await member.events("feed:a", 2)] == [0, 1]
        assert await member.hears_nothing_more()


async def test_no_user_can_take_the_key_of_another(config: Config) -> None:
    async with serve_topics(config=config) as server:
        async with Member(server, "a") as one, Member(server, "a:b") as other:
            assert (await one.publish("feed:a", {}, key="b:c"))["offset"] == 1
            assert (await other.publish("feed:a", {}, key="c"))["offset"] == 2


async def test_nobody_anonymous_can_take_the_key_of_another(config: Config) -> None:
    async with serve_topics(config=config) as server:
        async with Member(server) as first, Member(server) as second:
            await first.subscribe("room:lobby")
            said = await first.publish("room:lobby", {"n": 1}, key="k")
            assert (await second.publish("room:lobby", {"n": 2}, key="k"))["offset"] == 2
            # Who comes back over a new connection sends the same again.
            assert await second.publish("room:lobby", {"n": 1}, key="k") == said
            events = await first.events("room:lobby", 2)
            assert [event["payload"]["n"] for event in events] == [1, 2]


@pytest.mark.parametrize("key", ["", "k" * 129])
async def test_a_key_has_a_bounded_length(config: Config, key: str) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        error = await member.error("topic.publish", topic="feed:a", payload={}, key=key)
        assert error["code"] == "invalid_payload"
        with pytest.raises(ValueError, match="1 to 128"):
            await server.node.runtimes["topics"].publish("feed:a", {}, key=key)


PAYLOAD: dict[str, Any] = {
    "text": 'é € 😀 "quoted" \\ \n \x00 </script>',
    "offset": 12,
    "payload": {"offset": None, ',"payload":{}}': [1, 1.0, 1e300, -0.0, 2**53, True, [], {}]},
    "": "\u2028",
}


async def test_members_get_the_very_bytes_that_are_stored() -> None:
    async with own_redis() as (config, redis), serve_topics(config=config) as server:
        async with Wire(server, welcomed=True) as wire:
            await wire.ask("topic.subscribe", {"topic": "feed:a"})
            await server.node.runtimes["topics"].publish("feed:a", PAYLOAD)
            text = await wire.receive_text()
        log = await redis.xrange(f"{config['redis']['prefix']}:{{t:feed:a}}:log")
        assert log == [(b"1-0", {b"e": text.encode()})]
        assert text == (
            '{"type":"event","topic":"feed:a","offset":1,"payload":'
            + msgspec.json.encode(PAYLOAD).decode()
            + "}"
        )


async def test_no_node_decodes_an_event_but_once_for_messagepack(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, decode = list[bytes](), msgspec.json.decode

    def noted(message: bytes) -> Any:
        decoded.append(message)
        return decode(message)

    monkeypatch.setattr(protocol, "_decode_json", noted)
    async with serve_topics(config=config) as server:
        runtime = server.node.runtimes["topics"]
        async with Member(server) as one, Member(server) as two:
            for member in (one, two):
                await member.subscribe("feed:a")
            await runtime.publish("feed:a", PAYLOAD)
            expected = await one.next()
            assert await two.next() == expected
            assert expected["payload"] == PAYLOAD
            await one.reply("topic.history", topic="feed:a")
            assert decoded == []
            binary = {"subprotocol": "jackfield.v1.msgpack"}
            async with Member(server, **binary) as three, Member(server, **binary) as four:
                for member in (three, four):
                    await member.subscribe("feed:a")
                await runtime.publish("feed:a", PAYLOAD)
                for member in (one, two, three, four):
                    assert await member.next() == expected | {"offset": 2}
                assert len(decoded) == 1


async def test_a_node_hears_only_topics_that_it_has_members_of(config: Config) -> None:
    async with nodes(config) as (here, there):
        ear = Ear(there)
        async with Member(here) as publisher, Member(there) as member:
            for topic in ("feed:a", "feed:b", "feed:c"):
                await publisher.subscribe(topic)
            await member.subscribe("feed:a")
            await member.subscribe("feed:b")
            await member.reply("topic.unsubscribe", topic="feed:b")
            assert there.node.topics.bus.channels == 2
            for _ in range(20):
                for topic in ("feed:a", "feed:b", "feed:c"):
                    await publisher.publish(topic)
            await member.events("feed:a", 20)
            assert set(ear.heard) == {"feed:a"}
            assert len(ear.heard) == 20
