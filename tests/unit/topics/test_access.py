"""What clients may do with topics, and in which words they are refused what they may not."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from marshmallow import INCLUDE, Schema, fields

from jackfield import Plugin, Position
from jackfield.connection.request import Request
from jackfield.connection.running import MessageOptions
from jackfield.declaration.topic_family import TopicFamily
from jackfield.topics.membership import MEMBERSHIP
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from jackfield.wire.protocol import JSON, MSGPACK
from jackfield.wire.rates import TokenBucket
from tests.support.audiences import Subscriber
from tests.support.connected import error_of
from tests.support.node_topics import NodeTopics, node_topics
from tests.support.waiting import wait_until

Config = Mapping[str, Any]

#: Limits by which a reply holds three events of 1,000 bytes, or two of 1,200.
SMALL = {"reply_bytes": 4096, "event_bytes": 4096}


class Note(Schema):
    text = fields.String(required=True)


def family(pattern: str = "note:{name}", event: Any = Note, **options: Any) -> TopicFamily:
    """The topics of a plugin of their own, so that each test may add its hooks."""
    options = {"history": 50, "ttl": "1h", "publish": True, **options}
    return Plugin("test").topic(pattern, event, **options)


def client(user: str | None = "alice", *scopes: str, **options: Any) -> Subscriber:
    subscriber = Subscriber(identity=Identity(user, frozenset(scopes)), **options)
    subscriber.connection[MEMBERSHIP].early_joins = None  # it was welcomed
    return subscriber


def request_of(subscriber: Subscriber, *, streams: bool = False) -> Request[MessageOptions]:
    options = MessageOptions(
        "test", scopes=frozenset(), rate=None, streams=streams, concurrent=False, timeout=None
    )
    return Request(subscriber.connection, options, 1, {})


async def subscribe(
    node: NodeTopics, subscriber: Subscriber, name: str = "note:a", since: Position | None = None
) -> dict[str, Any]:
    return await node.access.subscribe(subscriber.connection, None, name, since)


async def publish(
    node: NodeTopics,
    subscriber: Subscriber,
    name: str = "note:a",
    key: str | None = None,
    **data: Any,
) -> Position:
    data = data or {"text": "hi"}
    return await node.access.publish(subscriber.connection, None, name, data, key)


async def history(node: NodeTopics, subscriber: Subscriber, **wanted: int) -> dict[str, Any]:
    span = {"after": None, "before": None, "limit": None, **wanted}
    return await node.access.history(subscriber.connection, None, "note:a", **span)


def offsets(reply: Mapping[str, Any], codec: Any = JSON) -> list[int]:
    if codec is JSON:
        return [msgspec.json.decode(each)["offset"] for each in reply["events"]]
    return [each["offset"] for each in reply["events"]]


async def refused(awaitable: Any) -> Error:
    with pytest.raises(Error) as error:
        await awaitable
    return error.value


# Subscribing.


async def test_a_reply_says_where_the_topic_stands_and_events_follow(config: Config) -> None:
    async with node_topics(config, family()) as node:
        alice = client()
        first = await publish(node, alice)
        assert await subscribe(node, alice) == {"epoch": first.epoch, "offset": 1}
        await publish(node, alice)
        await wait_until(lambda: alice.got == [2])


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["JSON", "MessagePack"])
async def test_whoever_says_what_it_knows_is_sent_the_rest_in_the_reply(
    config: Config, codec: Any
) -> None:
    async with node_topics(config, family()) as node:
        alice = client(codec=codec)
        first, *_ = [await publish(node, alice) for _ in range(3)]
        reply = await subscribe(node, alice, since=first)
        assert (reply["offset"], reply["recovered"]) == (3, True)
        assert offsets(reply, codec) == [2, 3]


async def test_what_is_lost_is_not_recovered(config: Config) -> None:
    async with node_topics(config, family(history=2)) as node:
        alice = client()
        first, *_ = [await publish(node, alice) for _ in range(5)]
        reply = await subscribe(node, alice, since=first)
        assert (reply["offset"], reply["recovered"]) == (5, False)
        assert "events" not in reply


async def test_more_than_a_reply_holds_is_left_to_be_read_in_parts(config: Config) -> None:
    async with node_topics(config, family(), limits=SMALL) as node:
        alice = client()
        first, *_ = [await publish(node, alice, text="x" * 1000) for _ in range(6)]
        reply = await subscribe(node, alice, since=first)
        assert (reply["offset"], reply["recovered"]) == (6, False)


async def test_a_replaying_topic_sends_all_it_has_to_who_names_no_position(config: Config) -> None:
    async with node_topics(config, family(history=3, replay=True)) as node:
        alice = client()
        for _ in range(3):
            await publish(node, alice)
        reply = await subscribe(node, alice)
        assert (offsets(reply), reply["recovered"]) == ([1, 2, 3], True)
        await publish(node, alice)
        reply = await subscribe(node, client())
        assert reply["recovered"] is False  # the first is lost


@pytest.mark.parametrize("name", ["note:", "other:a", "note"])
async def test_what_nobody_declares_is_not_found(config: Config, name: str) -> None:
    async with node_topics(config, family()) as node:
        for asked in (
            subscribe(node, client(), name),
            publish(node, client(), name),
            node.access.history(
                client().connection, None, name, after=None, before=None, limit=None
            ),
            node.access.presence(client().connection, None, name),
        ):
            assert (await refused(asked)).code == "not_found"
        assert node.topics.audiences == 0


async def test_a_topic_needs_its_scopes_for_all_that_is_done_with_it(config: Config) -> None:
    async with node_topics(config, family(scopes=["read", "more"])) as node:
        for scopes in ((), ("read",)):
            assert (await refused(subscribe(node, client("a", *scopes)))).code == "not_found"
            assert (await refused(publish(node, client("a", *scopes)))).code == "not_found"
        await subscribe(node, client("a", "read", "more", "else"))


async def test_a_plugin_says_who_may_see_a_topic_by_its_parts(config: Config) -> None:
    notes = family()

    @notes.authorize
    async def theirs(ctx: Any, name: str) -> bool:
        assert ctx.plugin == "test"
        return bool(ctx.user == name)

    async with node_topics(config, notes) as node:
        await subscribe(node, client("a"))
        await history(node, client("a"))
        for asked in (subscribe(node, client("b")), history(node, client("b"))):
            assert (await refused(asked)).code == "not_found"


async def test_only_so_many_topics_may_be_joined_beside_those_that_are_given(
    config: Config,
) -> None:
    async with node_topics(config, family(), limits={"topics": 2}) as node:
        alice = client()
        await subscribe(node, alice, "note:given")
        alice.connection[MEMBERSHIP].given = 1
        for name in ("note:a", "note:b", "note:a"):  # to join again takes nothing more
            await subscribe(node, alice, name)
        error = await refused(subscribe(node, alice, "note:c"))
        assert (error.code, error.extra["limit"]) == ("rate_limited", 2)
        assert error.extra["retry_after"] > 0
        assert node.access.unsubscribe(alice.connection, "note:a")
        await subscribe(node, alice, "note:c")


async def test_members_see_of_each_other_what_the_plugin_says(config: Config) -> None:
    notes = family(presence=True)

    @notes.info
    async def shown(ctx: Any, name: str) -> dict[str, Any]:
        return {"shown": f"{ctx.user} in {name}"}

    async with node_topics(config, notes) as node:
        alice = client()
        await subscribe(node, alice)
        reply = await node.access.presence(alice.connection, None, "note:a")
        (member,) = reply["members"]
        assert member == {"user": "alice", "info": {"shown": "alice in a"}, "connections": 1}


async def test_a_topic_without_presence_lists_nobody(config: Config) -> None:
    async with node_topics(config, family()) as node:
        asked = node.access.presence(client().connection, None, "note:a")
        assert (await refused(asked)).code == "not_found"


async def test_to_leave_ends_the_events_and_is_no_error_twice(config: Config) -> None:
    async with node_topics(config, family()) as node:
        alice = client()
        await subscribe(node, alice)
        assert node.access.unsubscribe(alice.connection, "note:a")
        assert alice.connection[MEMBERSHIP].joined == []
        assert node.topics.audiences == 0
        for name in ("note:a", "note:b", "other:a"):
            assert not node.access.unsubscribe(alice.connection, name)


# When events begin.


async def test_within_a_request_events_begin_behind_its_reply(config: Config) -> None:
    async with node_topics(config, family()) as node:
        alice = client()
        request = request_of(alice)
        await node.access.subscribe(alice.connection, request, "note:a", None)
        assert alice.connection[MEMBERSHIP].joined == []
        request.replied()
        assert [each.topic for each in alice.connection[MEMBERSHIP].joined] == ["note:a"]


async def test_within_a_stream_events_begin_at_once(config: Config) -> None:
    async with node_topics(config, family()) as node:
        alice = client()
        request = request_of(alice, streams=True)
        await node.access.subscribe(alice.connection, request, "note:a", None)
        assert len(alice.connection[MEMBERSHIP].joined) == 1
        assert request.after_reply is None


async def test_before_the_welcome_events_wait_for_it(config: Config) -> None:
    async with node_topics(config, family()) as node:
        early = Subscriber()
        await subscribe(node, early)
        membership = early.connection[MEMBERSHIP]
        assert membership.joined == []
        assert membership.early_joins is not None
        (join,) = membership.early_joins
        assert join.topic == "note:a"
        join.activate()
        assert len(membership.joined) == 1


# Publishing.


async def test_only_where_the_family_says_so_do_clients_publish(config: Config) -> None:
    async with node_topics(config, family(publish=False)) as node:
        assert (await refused(publish(node, client()))).code == "not_found"


@pytest.mark.parametrize("has_own_check", [True, False])
async def test_who_may_see_a_topic_may_publish_unless_the_plugin_says_otherwise(
    config: Config, *, has_own_check: bool
) -> None:
    notes = family()

    @notes.authorize
    async def may_see(ctx: Any, name: str) -> bool:
        return bool(ctx.user == "alice")

    if has_own_check:

        @notes.authorize_publish
        async def may_publish(ctx: Any, name: str) -> bool:
            return bool(ctx.user == "bob")

    able, unable = ("bob", "alice") if has_own_check else ("alice", "bob")
    async with node_topics(config, notes) as node:
        await publish(node, client(able))
        assert (await refused(publish(node, client(unable)))).code == "not_found"


async def test_a_wrong_payload_is_refused_with_where_it_is_wrong_in_the_message(
    config: Config,
) -> None:
    async with node_topics(config, family()) as node:
        error = await refused(publish(node, client(), text=5))
        assert error.code == "invalid_payload"
        assert [fault["pointer"] for fault in error.extra["fields"]] == ["/payload/text"]


async def test_a_plugin_may_make_another_event_of_what_is_published(config: Config) -> None:
    notes = family()

    @notes.prepare
    async def prepare(ctx: Any, data: Any, name: str) -> dict[str, Any]:
        return {"text": f"{ctx.user}: {data['text']}"}

    async with node_topics(config, notes) as node:
        await publish(node, client("alice"))
        page = await history(node, client("alice"))
        assert b'"text":"alice: hi"' in bytes(page["events"][0])


class Open(Schema):
    class Meta:
        unknown = INCLUDE

    at = fields.DateTime(attribute="when")


async def test_what_the_schema_includes_is_published_as_it_came(config: Config) -> None:
    async with node_topics(config, family(event=Open)) as node:
        alice = client()
        await publish(node, alice, at="2024-01-02T03:04:05", more=[1])
        page = await history(node, alice)
        assert b'"payload":{"more":[1],"at":"2024-01-02T03:04:05"}' in bytes(page["events"][0])


async def test_what_one_connection_publishes_keeps_its_order(config: Config) -> None:
    notes = family()
    begin = asyncio.Event()

    @notes.prepare
    async def prepare(ctx: Any, data: Any, name: str) -> Any:
        if data["text"] == "first":
            await begin.wait()
        return data

    async with node_topics(config, notes) as node:
        alice, bob = client("alice"), client("bob")
        sent = [asyncio.create_task(publish(node, alice, text=each)) for each in ("first", "next")]
        assert (await publish(node, bob)).offset == 1  # which waits for nobody else
        begin.set()
        assert [position.offset for position in await asyncio.gather(*sent)] == [2, 3]


async def test_a_key_is_its_users_own(config: Config) -> None:
    async with node_topics(config, family()) as node:
        users = ("alice", "alice", "bob", None, None, "4:alice")
        sent = [await publish(node, client(user), key="4:k") for user in users]
        assert [position.offset for position in sent] == [1, 1, 2, 3, 3, 4]


async def test_a_connection_publishes_only_so_much_a_second(config: Config) -> None:
    async with node_topics(config, family(), limits={"publishes_per_second": 2}) as node:
        hasty = client()
        for _ in range(2):
            await publish(node, hasty)
        error = await refused(publish(node, hasty))
        assert error.code == "rate_limited"
        assert 0 < error.extra["retry_after"] <= 1
        await publish(node, client())


async def test_who_publishes_too_much_is_told_to_wait_no_shorter_than_it_takes(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node_topics(config, family(), limits={"publishes_per_second": 3}) as node:
        hasty = client()
        for _ in range(3):
            await publish(node, hasty)
        monkeypatch.setattr(TokenBucket, "take", lambda *_: 1 / 3)
        error = await refused(publish(node, hasty))
        assert error.extra["retry_after"] == 0.334


# History.


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [4, 5, 6]),
        ({"limit": 2}, [5, 6]),
        ({"limit": 100}, [4, 5, 6]),
        ({"after": 1}, [2, 3, 4]),
        ({"after": 6}, []),
        ({"before": 3}, [1, 2]),
        ({"after": 1, "before": 4}, [2, 3]),
    ],
)
async def test_a_part_of_the_history_is_read_in_order(
    config: Config, wanted: dict[str, int], found: list[int]
) -> None:
    async with node_topics(config, family(), limits={"history": 3}) as node:
        alice = client()
        for _ in range(6):
            await publish(node, alice)
        page = await history(node, alice, **wanted)
        assert (page["offset"], offsets(page)) == (6, found)


async def test_a_lost_part_of_the_history_is_said_to_be(config: Config) -> None:
    async with node_topics(config, family(history=2)) as node:
        alice = client()
        for _ in range(4):
            await publish(node, alice)
        error = await refused(history(node, alice, after=1))
        assert (error.code, error.extra["topic"], error.extra["offset"]) == (
            "unrecoverable",
            "note:a",
            4,
        )


@pytest.mark.parametrize(("wanted", "found"), [({}, [5, 6]), ({"after": 0}, [1, 2])])
async def test_a_page_ends_where_a_reply_is_full(
    config: Config, wanted: dict[str, int], found: list[int]
) -> None:
    async with node_topics(config, family(), limits=SMALL) as node:
        alice = client()
        for _ in range(6):
            await publish(node, alice, text="x" * 1200)
        assert offsets(await history(node, alice, **wanted)) == found


async def test_numbers_may_take_more_room_in_messagepack(config: Config) -> None:
    async with node_topics(
        config, family(event=Open), limits={"reply_bytes": 5632, "event_bytes": 4096}
    ) as node:
        alice, packed = client(), client(codec=MSGPACK)
        for _ in range(2):  # four bytes for each in JSON, with its comma, and nine in MessagePack
            await publish(node, alice, n=[1.5] * 500)
        assert offsets(await history(node, alice)) == [1, 2]
        assert offsets(await history(node, packed), MSGPACK) == [2]
        assert offsets(await history(node, packed, after=0), MSGPACK) == [1]
        await publish(node, alice, n=[1.5] * 600)
        assert (await refused(history(node, packed))).code == "too_large"


# After a change of identity.


async def test_what_a_new_identity_may_not_see_is_left_and_its_client_told(config: Config) -> None:
    async with node_topics(config, family(scopes=["read"]), family("open:{name}")) as node:
        alice = client("alice", "read")
        for name in ("note:a", "open:a"):
            await subscribe(node, alice, name)
        await node.access.check_again(alice.connection)
        assert alice.sent() == []
        alice.connection.identify(Identity("alice"))
        await node.access.check_again(alice.connection)
        assert [each.topic for each in alice.connection[MEMBERSHIP].joined] == ["open:a"]
        (message,) = alice.sent()
        assert message["id"] is None
        error = error_of(message)
        assert (error["code"], error["topic"]) == ("forbidden", "note:a")


async def test_a_topic_whose_plugin_fails_to_say_is_left_as_well(
    config: Config, logged: Callable[[], str]
) -> None:
    notes, fails = family(), list[Exception]()

    @notes.authorize
    async def may_see(ctx: Any, name: str) -> bool:
        assert ctx.request is None
        if fails:
            raise fails[0]
        return True

    async with node_topics(config, notes) as node:
        alice = client()
        for fault, code in (
            (RuntimeError("broken"), "internal"),
            (Error("unavailable"), "unavailable"),
        ):
            fails.clear()
            await subscribe(node, alice)
            fails.append(fault)
            await node.access.check_again(alice.connection)
            assert alice.connection[MEMBERSHIP].joined == []
            (message,) = alice.sent()
            assert (error_of(message)["code"], error_of(message)["topic"]) == (code, "note:a")
        assert "broken" in logged()
