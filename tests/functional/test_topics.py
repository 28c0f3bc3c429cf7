"""Topics over real sockets: who may be in them, what they get, and who may publish."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from jackfield import AnyPayload, Context, Error, Plugin, Position, Runtime
from tests.support.topics import Member, nodes, offsets, serve_topics
from tests.support.topics import room as room_family
from tests.support.waiting import wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]


async def test_a_welcome_tells_the_topics_one_is_in_and_where_they_stand(config: Config) -> None:
    async with serve_topics(config=config) as server:
        await server.node.runtimes["topics"].broadcast({})
        async with Member(server, "alice") as alice, Member(server) as anonymous:
            assert list(alice.welcome["topics"]) == ["broadcast", "user:alice"]
            assert list(anonymous.welcome["topics"]) == ["broadcast"]
            assert alice.welcome["topics"]["broadcast"] == anonymous.welcome["topics"]["broadcast"]
            assert alice.welcome["topics"]["broadcast"]["offset"] == 1
            assert alice.welcome["topics"]["user:alice"]["offset"] == 0


async def test_members_get_events_until_they_leave_and_nobody_else_does(config: Config) -> None:
    async with serve_topics(config=config) as server:
        async with Member(server) as member, Member(server) as other:
            standing = await member.subscribe("feed:a")
            assert standing == {"epoch": standing["epoch"], "offset": 0}
            published = await other.publish("feed:a", {"n": 1})
            assert published == {"epoch": standing["epoch"], "offset": 1}
            assert await member.next() == {
                "type": "event",
                "topic": "feed:a",
                "offset": 1,
                "payload": {"n": 1},
            }
            await other.publish("feed:b", {"n": 2})
            assert await member.reply("topic.unsubscribe", topic="feed:a") == {}
            await other.publish("feed:a", {"n": 3})
            assert await member.hears_nothing_more()
            assert await other.hears_nothing_more()


async def test_an_event_of_ones_own_comes_like_anybody_elses(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        await member.subscribe("feed:a")
        for number in range(3):
            await member.publish("feed:a", {"n": number})
        events = await member.events("feed:a", 3)
        assert [(event["offset"], event["payload"]["n"]) for event in events] == [
            (1, 0),
            (2, 1),
            (3, 2),
        ]


async def test_to_leave_what_one_is_not_in_is_no_error(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        for topic in ("feed:a", "nowhere:a", "closed:a", "staff:a"):
            assert await member.reply("topic.unsubscribe", topic=topic) == {}


VERBS: dict[str, dict[str, Any]] = {
    "topic.subscribe": {},
    "topic.publish": {"payload": {}},
    "topic.history": {},
    "topic.presence": {},
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_forbidden_topic_and_one_that_is_not_there_answer_alike(
    config: Config, verb: str
) -> None:
    async with serve_topics(config=config) as server, Member(server, "bob", "other") as bob:
        await server.node.runtimes["topics"].publish("staff:a", {})
        unknown = await bob.error(verb, topic="nowhere:a", **VERBS[verb])
        assert unknown["code"] == "not_found"
        forbidden = ["closed:a", "staff:a", "user:alice", "room:", "room:a:b", "room", "feed:a\n"]
        if verb == "topic.publish":
            forbidden += ["news:a", "broadcast", "user:bob"]
        if verb == "topic.presence":
            forbidden += ["news:a", "broadcast", "user:bob", "feed:a"]
        for topic in forbidden:
            assert await bob.error(verb, topic=topic, **VERBS[verb]) == unknown, topic
        # Not even what is wrong with a payload tells that there is a topic.
        if verb == "topic.publish":
            assert await bob.error(verb, topic="closed:a", payload={"any": 1}, key="k") == unknown
        async with Member(server, "sue", "staff", "more") as sue:
            assert (await sue.request(verb, topic="staff:a", **VERBS[verb]))["type"] == "reply"


async def test_everyone_is_asked_anew_at_every_request(config: Config) -> None:
    plugin, banned = Plugin("bans"), set[str | None]()
    family = plugin.topic("club:{name}", AnyPayload, history=5, ttl="1h", publish=True)

    @family.authorize
    async def is_welcome(ctx: Context, name: str) -> bool:
        return ctx.user not in banned

    async with serve_topics(plugin, config=config) as server, Member(server, "eve") as eve:
        assert (await eve.subscribe("club:a"))["offset"] == 0
        assert (await eve.publish("club:a"))["offset"] == 1
        banned.add("eve")
        assert (await eve.error("topic.publish", topic="club:a", payload={}))["code"] == "not_found"
        assert (await eve.error("topic.history", topic="club:a"))["code"] == "not_found"


async def test_a_clients_event_is_validated_prepared_and_dumped(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server, "alice") as alice:
        await alice.subscribe("signed:tea")
        await alice.publish("signed:tea", {"text": "hello"})
        (event,) = await alice.events("signed:tea", 1)
        assert event["payload"] == {"text": "alice in tea: hello"}
        error = await alice.error("topic.publish", topic="signed:tea", payload={"text": 1, "x": 2})
        assert error["code"] == "invalid_payload"
        assert {field["pointer"] for field in error["fields"]} == {"/payload/text", "/payload/x"}
        assert await alice.hears_nothing_more()


async def test_handlers_lifespans_and_background_tasks_publish(config: Config) -> None:
    plugin = Plugin("source")
    bell = asyncio.Event()

    @plugin.lifespan
    async def run(runtime: Runtime) -> AsyncIterator[None]:
        await runtime.publish("feed:a", {"by": "lifespan"})

        async def ring() -> None:
            await bell.wait()
            await runtime.publish("feed:a", {"by": "task"})
            await runtime.send_to_user("alice", {"by": "task"})
            await runtime.broadcast({"by": "task"})

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ring())
            yield
            bell.set()

    @plugin.handler("source.handle")
    async def handle(ctx: Context, data: Any) -> dict[str, Any]:
        first = await ctx.publish("feed:a", {"by": "handler"})
        await room_family.publish(ctx, {"by": "family"}, name="a")
        await ctx.send_to_user("alice", {"by": "handler"})
        await ctx.broadcast({"by": "handler"})
        assert isinstance(first, Position)
        return first._asdict()

    async with serve_topics(plugin, config=config) as server:
        async with Member(server, "alice") as alice, Member(server, "bob") as bob:
            assert (await alice.subscribe("feed:a"))["offset"] == 1
            await alice.subscribe("room:a")
            assert (await bob.reply("source.handle"))["offset"] == 2
            bell.set()
            seen = [await alice.next() for _ in range(7)]
            assert sorted((event["topic"], event["payload"]["by"]) for event in seen) == [
                ("broadcast", "handler"),
                ("broadcast", "task"),
                ("feed:a", "handler"),
                ("feed:a", "task"),
                ("room:a", "family"),
                ("user:alice", "handler"),
                ("user:alice", "task"),
            ]
            assert [(await bob.next())["payload"]["by"] for _ in range(2)] == ["handler", "task"]


async def test_whoever_is_sent_to_gets_it_on_every_node_and_nobody_else(config: Config) -> None:
    async with nodes(config) as (here, there):
        async with Member(here, "al") as one, Member(there, "al") as two, Member(there, "bo") as bo:
            await there.node.runtimes["topics"].send_to_user("al", {"n": 1})
            for member in (one, two):
                assert (await member.next())["topic"] == "user:al"
            await here.node.runtimes["topics"].broadcast({"n": 2})
            for member in (one, two, bo):
                assert (await member.next())["payload"] == {"n": 2}


ODD = ["a:b", "{a}", "a}", "{", "a/b", "a b", "ä€😀", "%7Ba%7D", "a%b", '"\\', "'", "*[?", "offset"]


@pytest.mark.parametrize("name", ODD)
async def test_users_and_topics_may_have_any_name(config: Config, name: str) -> None:
    others = [each for each in ODD if each != name]
    async with serve_topics(config=config) as server:
        runtime = server.node.runtimes["topics"]
        async with Member(server, name) as member:
            await member.subscribe(f"news:{name}")
            for other in others:
                await runtime.publish(f"news:{other}", {})
                await runtime.send_to_user(other, {})
            await runtime.publish(f"news:{name}", {"n": 1})
            await runtime.send_to_user(name, {"n": 2})
            heard = [await member.next() for _ in range(2)]
            assert {(each["topic"], each["offset"], each["payload"]["n"]) for each in heard} == {
                (f"news:{name}", 1, 1),
                (f"user:{name}", 1, 2),
            }
            past = await member.reply("topic.history", topic=f"news:{name}")
            assert past["events"] == [each for each in heard if each["topic"] == f"news:{name}"]
            assert await member.hears_nothing_more()


async def test_a_name_that_is_too_long_is_no_topics(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        assert (await member.subscribe("news:" + "é" * 250))["offset"] == 0
        error = await member.error("topic.subscribe", topic="news:" + "x" * 60_000)
        assert error["code"] == "invalid_payload"


async def test_a_hook_may_subscribe_whoever_connects_and_the_welcome_says_so(
    config: Config,
) -> None:
    plugin = Plugin("greeting")

    @plugin.on_connect
    async def join(ctx: Context) -> None:
        await ctx.subscribe("room:lobby")
        await ctx.publish("room:lobby", {"for": "all"})

    async with serve_topics(plugin, config=config) as server, Member(server, "al") as alice:
        standing = alice.welcome["topics"]["room:lobby"]
        (event,) = await alice.events("room:lobby", 1)
        assert event["offset"] == standing["offset"] + 1 == 1
        async with Member(server, "bo") as bob:
            assert bob.welcome["topics"]["room:lobby"] == standing | {"offset": 1}
            assert (await alice.next())["joined"] == {"user": "bo"}
            assert offsets(await bob.events("room:lobby", 1)) == [2]
            assert offsets(await alice.events("room:lobby", 1)) == [2]
        assert (await alice.next())["left"] == {"user": "bo"}


async def test_whoever_is_refused_at_the_door_was_in_no_topic(config: Config) -> None:
    plugin = Plugin("door")

    @plugin.on_connect
    async def turn_away(ctx: Context) -> None:
        await ctx.subscribe("room:lobby")
        raise Error("forbidden")

    async with serve_topics(plugin, config=config) as server, Wire(server) as wire:
        assert (await wire.closed())[0] == 4503
        await wait_until(lambda: not server.node.topics.audiences)


async def test_a_stream_may_subscribe_and_events_come_at_once(config: Config) -> None:
    plugin = Plugin("stream")

    @plugin.handler("stream.watch")
    async def watch(ctx: Context, data: Any) -> AsyncIterator[dict[str, Any]]:
        yield await ctx.subscribe("feed:a")
        await ctx.publish("feed:a", {})
        yield {}

    async with serve_topics(plugin, config=config) as server, Member(server) as member:
        message_id = await member.post("stream.watch")
        await member.answer(message_id)
        assert (await member.next())["type"] == "event"


async def test_messages_without_an_id_do_what_they_ask_for(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server) as member:
        await member.send({"type": "topic.subscribe", "payload": {"topic": "feed:a"}})
        await member.send({"type": "topic.publish", "payload": {"topic": "feed:a", "payload": {}}})
        assert offsets(await member.events("feed:a", 1)) == [1]
        await member.send({"type": "topic.unsubscribe", "payload": {"topic": "feed:a"}})
        await member.publish("feed:a")
        assert await member.hears_nothing_more()
