"""A node's topics: found by name, published to, listened to while they have members here."""

from collections.abc import Mapping
from typing import Any

import pytest
from marshmallow import Schema, fields

from jackfield import Plugin
from jackfield.declaration.topic_family import BROADCAST, USER
from jackfield.schema.payload import PayloadError
from jackfield.topics.membership import MEMBERSHIP
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from tests.support.audiences import Subscriber
from tests.support.node_topics import NodeTopics, node_topics
from tests.support.waiting import wait_until

Config = Mapping[str, Any]

plugin = Plugin("test")


class Note(Schema):
    text = fields.String(required=True)


NOTES = plugin.topic("note:{name}", Note, history=5, ttl="90s")
ROOM = plugin.topic("room:{name}", history=5, ttl="1h", presence=True)
EVERYONE = plugin.topic(BROADCAST, history=5, ttl="1h")
OWN = plugin.topic(f"{USER}{{id*}}", history=5, ttl="1h")


async def joined(node: NodeTopics, *subscribers: Subscriber) -> None:
    for subscriber in subscribers:
        for join in await node.topics.join_own(subscriber.connection):
            join.activate()


async def subscribed(node: NodeTopics, name: str) -> Subscriber:
    subscriber = Subscriber()
    await node.access.subscribe(subscriber.connection, None, name, None)
    subscriber.connection[MEMBERSHIP].early_joins[0].activate()  # type: ignore[index]
    return subscriber


async def test_a_topic_is_found_by_its_name_with_all_that_redis_has_to_know(
    config: Config,
) -> None:
    async with node_topics(config, NOTES) as node:
        topic = node.topics.find("note:a")
        assert topic is not None
        assert (topic.name, topic.family, topic.parts) == ("note:a", NOTES, {"name": "a"})
        assert topic.stored == (node.keys.topic("note:a"), 5, 90.0)
        assert topic.head == b'{"type":"event","topic":"note:a","offset":'
        assert node.topics.find("note:a") is topic
        assert node.topics.find("nothing:a") is None
        for number in range(3):  # names that anybody may make up take no other's place
            assert node.topics.find(f"nothing:{number}") is None
        assert node.topics._look_up_once.cache_info().currsize == 1


async def test_what_was_found_is_forgotten_when_a_plugin_goes(config: Config) -> None:
    async with node_topics(config, NOTES) as node:
        assert node.topics.find("note:a") is not None
        node.families.clear()
        assert node.topics.find("note:a") is not None
        node.topics.clear_cache()
        assert node.topics.find("note:a") is None


async def test_what_is_published_is_counted_and_kept_no_longer_than_its_family_says(
    config: Config,
) -> None:
    async with node_topics(config, NOTES) as node:
        first = await node.topics.publish("note:a", {"text": "one"})
        second = await node.topics.publish("note:a", {"text": "two"})
        assert (first.epoch, first.offset, second.offset) == (second.epoch, 1, 2)
        assert node.topics.published == 2
        keys = node.keys.topic("note:a")
        for key in (keys.meta, keys.log):
            assert 80_000 < await node.redis.execute("PTTL", key) <= 90_000


async def test_the_same_key_is_published_once(config: Config) -> None:
    async with node_topics(config, NOTES) as node:
        positions = [await node.topics.publish("note:a", {"text": "x"}, key="k") for _ in "ab"]
        assert positions[0] == positions[1]
        for key in ("", "k" * 129):
            with pytest.raises(ValueError, match="a key has 1 to 128 characters"):
                await node.topics.publish("note:a", {"text": "x"}, key=key)
        await node.topics.publish("note:a", {"text": "x"}, key="k" * 128)


async def test_what_nobody_declares_is_not_published_to(config: Config) -> None:
    async with node_topics(config) as node:
        with pytest.raises(Error, match="not_found"):
            await node.topics.publish("note:a", {"text": "x"})


async def test_an_event_is_as_large_as_the_limit_says_with_its_offset(config: Config) -> None:
    async with node_topics(config, NOTES, limits={"event_bytes": 1024}) as node:
        empty = b'{"type":"event","topic":"note:a","offset":,"payload":{"text":""}}'
        fits = 1024 - len(empty) - 16
        await node.topics.publish("note:a", {"text": "x" * fits})
        with pytest.raises(Error, match="too_large") as refused:
            await node.topics.publish("note:a", {"text": "x" * (fits + 1)})
        assert refused.value.extra["limit"] == 1024
        assert node.topics.published == 1


@pytest.mark.parametrize("debug", [True, False])
async def test_only_with_debug_is_what_the_server_publishes_checked(
    config: Config, *, debug: bool
) -> None:
    async with node_topics(config, NOTES, server={"debug": debug}) as node:
        if debug:
            with pytest.raises(PayloadError, match="text"):
                await node.topics.publish("note:a", {"words": "x"})
        else:
            await node.topics.publish("note:a", {"words": "x"})


async def test_each_client_is_in_the_topic_of_all_and_in_its_own(config: Config) -> None:
    async with node_topics(config, EVERYONE, OWN) as node:
        alice, anonymous = Subscriber(identity=Identity("alice")), Subscriber()
        await joined(node, alice, anonymous)
        topics = [
            [each.topic for each in one.connection[MEMBERSHIP].joined] for one in (alice, anonymous)
        ]
        assert topics == [["broadcast", "user:alice"], ["broadcast"]]
        assert (node.topics.audiences, node.topics.members) == (2, 3)
        await node.topics.publish("broadcast", {})
        await node.topics.publish("user:alice", {})
        await wait_until(lambda: len(alice.got) == 2 and len(anonymous.got) == 1)


async def test_without_the_built_in_topics_nobody_is_in_them(config: Config) -> None:
    async with node_topics(config) as node:
        assert await node.topics.join_own(Subscriber(identity=Identity("alice")).connection) == []


async def test_whoever_can_not_join_all_of_its_own_topics_joins_none(config: Config) -> None:
    async with node_topics(config, EVERYONE, OWN) as node:
        subscribe, channels = node.topics.bus.subscribe, list[str]()

        async def away_for_the_second(channel: str) -> None:
            channels.append(channel)
            if len(channels) == 2:
                raise Error("unavailable")
            await subscribe(channel)

        node.topics.bus.subscribe = away_for_the_second  # type: ignore[method-assign]
        with pytest.raises(Error, match="unavailable"):
            await node.topics.join_own(Subscriber(identity=Identity("alice")).connection)
        assert node.topics.audiences == 0


async def test_who_has_ended_is_in_no_topic_and_joins_none(config: Config) -> None:
    async with node_topics(config, NOTES, EVERYONE) as node:
        leaving = Subscriber()
        await joined(node, leaving)
        await node.access.subscribe(leaving.connection, None, "note:a", None)
        assert node.topics.audiences == 2
        node.topics.leave_all(leaving.connection)
        membership = leaving.connection[MEMBERSHIP]
        assert (membership.has_left, membership.joined, membership.early_joins) == (True, [], None)
        assert node.topics.audiences == 0
        assert node.topics.bus.channels == 0
        node.topics.leave_all(leaving.connection)


async def test_the_members_of_a_topic_are_one_audience_while_there_are_any(config: Config) -> None:
    async with node_topics(config, NOTES) as node:
        topic = node.topics.find("note:a")
        assert topic is not None
        assert node.topics.find_audience(topic) is None
        subscriber = await subscribed(node, "note:a")
        audience = node.topics.find_audience(topic)
        assert audience is not None
        assert node.topics.audience(topic) is audience
        node.topics.leave_all(subscriber.connection)
        assert node.topics.find_audience(topic) is None


async def test_a_channel_of_no_topic_is_listened_to_until_it_is_stopped(config: Config) -> None:
    async with node_topics(config) as node:
        channel = node.keys.agent_channel("echo")
        heard: list[tuple[bytes, bytes]] = []

        async def publish(message: str) -> None:
            await node.redis.execute("SPUBLISH", channel, message)

        await node.topics.listen(channel, lambda *told: heard.append(told), lambda _: None)
        await publish("one")
        await wait_until(lambda: heard == [(channel.encode(), b"one")])
        node.topics.stop_listening(channel)
        node.topics.stop_listening(channel)
        assert node.topics.bus.channels == 0
        node.topics._on_message(channel.encode(), b"two")  # was on its way
        assert len(heard) == 1


async def test_whoever_listens_is_told_that_something_may_have_been_missed(config: Config) -> None:
    async with node_topics(config) as node:
        gaps: list[bytes] = []
        channel = node.keys.agent_channel("echo")
        await node.topics.listen(channel, lambda *_: None, gaps.append)
        gaps.clear()
        node.topics._on_gap(channel.encode())
        node.topics._on_gap(b"another")
        assert gaps == [channel.encode()]


async def publish_unheard(node: NodeTopics, name: str) -> None:
    """Publish what does not come over the node's channel."""
    node.is_deaf = True
    node.heard.clear()
    await node.topics.publish(name, {"text": "missed"})
    await wait_until(lambda: node.heard)
    node.is_deaf = False


async def test_what_a_channel_has_lost_is_found_when_it_is_suspect(config: Config) -> None:
    async with node_topics(config, NOTES) as node:
        subscriber = await subscribed(node, "note:a")
        await publish_unheard(node, "note:a")
        assert subscriber.got == []
        node.topics._on_gap(node.keys.topic("note:a").channel.encode())
        await wait_until(lambda: subscriber.got == [1])
        assert node.topics.gaps == 1
        node.topics.leave_all(subscriber.connection)
        assert node.topics.gaps == 1  # also those of topics that nobody is in any more


async def test_what_nobody_noticed_is_found_by_the_refresh(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.topics.topics._DELIVERY_TIME", 0)
    async with node_topics(config, NOTES, ROOM) as node:
        subscriber = await subscribed(node, "note:a")
        await node.topics.refresh()
        assert node.topics.gaps == 0
        await publish_unheard(node, "note:a")
        await node.topics.refresh()
        await wait_until(lambda: subscriber.got == [1])


async def test_suspects_are_checked_once_redis_is_there_again(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.topics.topics._RETRY_PAUSE", 0)
    async with node_topics(config, NOTES) as node:
        subscriber = await subscribed(node, "note:a")
        await publish_unheard(node, "note:a")
        failures = [Error("unavailable")] * 3
        store: Any = node.topics.store
        refresh = store.refresh

        async def away(stored: Any) -> Any:
            if failures:
                raise failures.pop()
            return await refresh(stored)

        store.refresh = away
        node.topics._on_gap(node.keys.topic("note:a").channel.encode())
        await wait_until(lambda: subscriber.got == [1])
        assert failures == []


async def test_members_of_all_nodes_are_listed(config: Config) -> None:
    async with node_topics(config, ROOM) as here, node_topics(config, ROOM) as there:
        await subscribed(here, "room:a")
        topic = there.topics.find("room:a")
        assert topic is not None
        assert await there.topics.presence(topic) == {
            "members": [{"user": None, "connection": "c1", "connections": 1}],
            "count": 1,
        }


async def test_that_members_left_is_written_before_the_end(config: Config) -> None:
    async with node_topics(config, ROOM) as there:
        async with node_topics(config, ROOM) as here:
            subscriber = await subscribed(here, "room:a")
            here.topics.leave_all(subscriber.connection)
        topic = there.topics.find("room:a")
        assert topic is not None
        assert (await there.topics.presence(topic))["count"] == 0
