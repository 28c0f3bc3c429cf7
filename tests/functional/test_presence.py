"""Presence: who is in a topic on any node, told once of each who comes and goes."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from jackfield.store.presence import MemberConnections
from jackfield.testing import RunningServer
from jackfield.wire import protocol
from tests.support.topics import Ear, Member, Message, nodes, own_redis, serve_topics
from tests.support.waiting import wait_until

Config = Mapping[str, Any]


async def present(member: Member, topic: str) -> dict[str | None, int]:
    """The members of a topic and how many connections each has, as one of them is told."""
    reply = await member.reply("topic.presence", topic=topic)
    assert reply["count"] == len(reply["members"])
    return {each["user"]: each["connections"] for each in reply["members"]}


async def changes(member: Member, count: int) -> list[tuple[str, str | None]]:
    """The next changes of presence that a member is told."""
    told = [await member.next() for _ in range(count)]
    assert {each["type"] for each in told} == {"presence"}, told
    return [
        (change, each[change]["user"])
        for each in told
        for change in ("joined", "left")
        if change in each
    ]


def presence_keys(server: RunningServer, topic: str) -> list[str]:
    """Every key of a topic's presence but that of each node."""
    address = server.node.topics.find(topic)
    assert address is not None
    keys = address.stored.keys
    return [keys.nodes, keys.who, keys.info]


async def test_members_are_told_of_each_who_joins_or_leaves_and_not_of_themselves(
    config: Config,
) -> None:
    async with nodes(config) as (here, there):
        async with Member(here, "alice") as alice:
            await alice.subscribe("room:a")
            async with Member(there, "bob") as bob:
                await bob.subscribe("room:a")
                assert await alice.next() == {
                    "type": "presence",
                    "topic": "room:a",
                    "joined": {"user": "bob"},
                }
                assert await present(bob, "room:a") == {"alice": 1, "bob": 1}
                async with Member(here, "eve") as eve:
                    await eve.subscribe("room:b")  # which is another
                    await eve.subscribe("room:a")
                    for member in (alice, bob):
                        assert await changes(member, 1) == [("joined", "eve")]
                    await eve.reply("topic.unsubscribe", topic="room:a")
                    for member in (alice, bob):
                        assert await changes(member, 1) == [("left", "eve")]
                    assert await eve.hears_nothing_more()
            assert await changes(alice, 1) == [("left", "bob")]
            assert await present(alice, "room:a") == {"alice": 1}
            assert await alice.hears_nothing_more()


async def test_several_connections_of_a_user_are_one_member(config: Config) -> None:
    async with nodes(config) as (here, there), Member(here, "alice") as alice:
        await alice.subscribe("room:a")
        async with Member(here, "bob") as first, Member(there, "bob") as second:
            await first.subscribe("room:a")
            async with Member(there, "bob") as third:
                await second.subscribe("room:a")
                await third.subscribe("room:a")
                assert await present(alice, "room:a") == {"alice": 1, "bob": 3}
                await first.reply("topic.unsubscribe", topic="room:a")
                assert await present(alice, "room:a") == {"alice": 1, "bob": 2}
            await wait_until_present(alice, "room:a", {"alice": 1, "bob": 1})
        assert await changes(alice, 2) == [("joined", "bob"), ("left", "bob")]
        assert await alice.hears_nothing_more()


async def wait_until_present(member: Member, topic: str, users: dict[str | None, int]) -> None:
    async def are_present() -> bool:
        return await present(member, topic) == users

    await wait_until(are_present)


async def test_to_subscribe_again_changes_nothing(config: Config) -> None:
    async with serve_topics(config=config) as server:
        async with Member(server, "alice") as alice, Member(server, "bob") as bob:
            await alice.subscribe("room:a")
            for _ in range(3):
                standing = await bob.subscribe("room:a")
                await bob.subscribe("room:a", since=standing)
            assert await present(alice, "room:a") == {"alice": 1, "bob": 1}
            await bob.reply("topic.unsubscribe", topic="room:a")
            assert await present(alice, "room:a") == {"alice": 1}
            assert await changes(alice, 2) == [("joined", "bob"), ("left", "bob")]


async def test_anonymous_members_are_told_apart_by_their_connection(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server, "alice") as alice:
        await alice.subscribe("room:a")
        async with Member(server) as one, Member(server) as two:
            joined = []
            for member in (one, two):
                await member.subscribe("room:a")
                joined.append((await alice.next())["joined"])
            assert joined == [
                {"user": None, "connection": member.welcome["connection"]} for member in (one, two)
            ]
            reply = await alice.reply("topic.presence", topic="room:a")
            assert reply["count"] == 3
            for each in joined:
                assert each | {"connections": 1} in reply["members"]
            await one.reply("topic.unsubscribe", topic="room:a")
            assert (await alice.next())["left"] == joined[0]


async def test_others_see_of_a_member_what_the_plugin_makes_of_it(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server, "alice") as alice:
        await alice.subscribe("signed:tea")
        looks = {"user": "bob", "info": {"name": "Bob", "room": "tea"}}
        async with Member(server, "bob") as bob:
            await bob.subscribe("signed:tea")
            assert (await alice.next())["joined"] == looks
            reply = await alice.reply("topic.presence", topic="signed:tea")
            assert looks | {"connections": 1} in reply["members"]
        assert (await alice.next())["left"] == looks


@pytest.mark.parametrize("user", ["a:b", "{a}", "}", "a/b", "ä😀", "c:x", "u:alice", '"', "%"])
async def test_members_may_have_any_name(config: Config, user: str) -> None:
    async with serve_topics(config=config) as server, Member(server, "alice") as alice:
        await alice.subscribe("room:a")
        async with Member(server, user) as member:
            await member.subscribe("room:a")
            assert await present(member, "room:a") == {"alice": 1, user: 1}
        assert await changes(alice, 2) == [("joined", user), ("left", user)]


async def test_who_is_there_is_told_without_being_there(config: Config) -> None:
    async with serve_topics(config=config) as server:
        async with Member(server, "alice") as alice, Member(server, "bob") as bob:
            assert await bob.reply("topic.presence", topic="room:a") == {"members": [], "count": 0}
            await alice.subscribe("room:a")
            assert await present(bob, "room:a") == {"alice": 1}
            assert await bob.hears_nothing_more()


async def test_what_a_dead_node_left_is_announced_once(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {**config, "connections": {"heartbeat": "100ms", "ttl": "1s"}}
    async with serve_topics(config=config) as here, Member(here, "alice") as alice:
        await alice.subscribe("room:a")
        async with serve_topics(config=quick) as dying:
            members = [Member(dying, "bob"), Member(dying, "bob"), Member(dying, "eve")]
            for member in members:
                await (await member.__aenter__()).subscribe("room:a")
            assert await changes(alice, 2) == [("joined", "bob"), ("joined", "eve")]
            # It dies without a word: nothing of it reaches Redis any more.
            with monkeypatch.context() as silence:
                silence.setattr(dying.node.redis, "run", falls_silent)
                silence.setattr(dying.node.redis, "execute", falls_silent)
                for member in members:
                    member.socket.transport.abort()
                await wait_until_present(alice, "room:a", {"alice": 1})
                told = sorted(await changes(alice, 2))
                assert told == [("left", "bob"), ("left", "eve")]
                nodes_key, *_ = presence_keys(here, "room:a")
                left = await here.node.redis.execute("ZRANGE", nodes_key, 0, -1)
                assert left == [here.node.id.encode()]
        assert await alice.hears_nothing_more()


async def falls_silent(*_: object) -> None:
    await asyncio.Event().wait()


async def test_several_that_look_announce_a_dead_node_once(config: Config) -> None:
    async with nodes(config, 3) as (here, there, dead):
        async with Member(here, "alice") as alice, Member(there, "bob") as bob:
            for member in (alice, bob):
                await member.subscribe("room:a")
            assert await changes(alice, 1) == [("joined", "bob")]
            async with Member(dead, "eve") as eve:
                await eve.subscribe("room:a")
                nodes_key, *_ = presence_keys(here, "room:a")
                await here.node.redis.execute("ZADD", nodes_key, 1, dead.node.id)
                await asyncio.gather(
                    *(member.reply("topic.presence", topic="room:a") for member in (alice, bob)),
                    *(server.node.topics.refresh() for server in (here, there)),
                )
                for member in (alice, bob):
                    assert await changes(member, 2) == [("joined", "eve"), ("left", "eve")]
                # It was not dead at all, and says so.
                await dead.node.topics.refresh()
                for member in (alice, bob):
                    assert await changes(member, 1) == [("joined", "eve")]
                assert await present(alice, "room:a") == {"alice": 1, "bob": 1, "eve": 1}


async def snapshot(member: Member) -> Message:
    """The next message that lists all members; what comes before it is dropped."""
    while "members" not in (message := await member.next()):
        pass
    return message


async def test_a_flushed_redis_is_healed_and_members_are_told_who_is_there() -> None:
    async with own_redis() as (config, redis), nodes(config) as (here, there):
        async with Member(here, "alice") as alice, Member(there, "bob") as bob:
            for member in (alice, bob):
                await member.subscribe("room:a")
            await redis.flushall()
            await asyncio.gather(*(server.node.topics.refresh() for server in (here, there)))
            for member in (alice, bob):
                await wait_until_present(member, "room:a", {"alice": 1, "bob": 1})
                users = set[str]()
                while users != {"alice", "bob"}:  # whatever it was told, this comes of it
                    message = await member.next()
                    if "members" in message:
                        users = {each["user"] for each in message["members"]}
                        assert message["count"] == len(users)
                    elif "joined" in message:
                        users.add(message["joined"]["user"])


async def test_whoever_joins_after_a_flush_hides_nobody_who_was_there() -> None:
    async with own_redis() as (config, redis), serve_topics(config=config) as server:
        async with Member(server, "alice") as alice, Member(server, "bob") as bob:
            for member in (alice, bob):
                await member.subscribe("room:a")
            await redis.flushall()
            async with Member(server, "eve") as eve:
                await eve.subscribe("room:a")
                listed = await snapshot(alice)
                assert {each["user"] for each in listed["members"]} == {"alice", "bob", "eve"}
                assert await present(bob, "room:a") == {"alice": 1, "bob": 1, "eve": 1}


async def test_whoever_left_while_redis_was_away_does_not_stay_as_a_ghost() -> None:
    async with own_redis() as (config, redis), serve_topics(config=config) as server:
        async with Member(server, "alice") as alice:
            await alice.subscribe("room:a")
            _, who, info = presence_keys(server, "room:a")
            node = f"{who.removesuffix('who')}here:{server.node.id}"
            # As if the server had left, and Redis had not been told.
            await redis.hset(node, "u:ghost", "1")
            await redis.hset(who, "u:ghost", "1")
            await redis.hset(info, "u:ghost", '{"user":"ghost"}')
            assert await present(alice, "room:a") == {"alice": 1, "ghost": 1}
            await server.node.topics.refresh()
            assert await changes(alice, 1) == [("left", "ghost")]
            assert await present(alice, "room:a") == {"alice": 1}


async def test_a_change_that_the_channel_did_not_bring_is_made_up_for_by_a_list(
    config: Config,
) -> None:
    async with nodes(config) as (here, there):
        ear = Ear(here)
        async with Member(here, "alice") as alice, Member(there, "bob") as bob:
            await alice.subscribe("room:a")
            assert await alice.hears_nothing_more()
            ear.heard.clear()
            ear.is_deaf = True
            await bob.subscribe("room:a")
            await wait_until(lambda: ear.heard == ["room:a"])
            ear.is_deaf = False
            await here.node.topics.refresh()
            listed = await snapshot(alice)
            assert {each["user"] for each in listed["members"]} == {"alice", "bob"}
            assert listed["count"] == 2
            await bob.reply("topic.unsubscribe", topic="room:a")
            assert await changes(alice, 1) == [("left", "bob")]
            assert await alice.hears_nothing_more()


async def test_what_is_written_again_is_announced_once(config: Config) -> None:
    async with serve_topics(config=config) as server, Member(server, "alice") as alice:
        await alice.subscribe("room:a")
        address = server.node.topics.find("room:a")
        assert address is not None
        store, keys = server.node.topics._presence, address.stored.keys
        head = protocol.presence_head("room:a")
        written = MemberConnections(keys, head, "u:bob", 1, b'{"user":"bob"}')
        for attendance in (written, written, written._replace(connections=2), written):
            await store.write(attendance)
        for _ in range(3):
            await store.write(written._replace(connections=0))
        await store.write(written._replace(connections=0, member="u:stranger"))
        assert await changes(alice, 2) == [("joined", "bob"), ("left", "bob")]
        assert await alice.hears_nothing_more()
