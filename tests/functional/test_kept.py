"""What one client may keep in Redis, on every path by which it can; and others go on meanwhile."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from jackfield import AnyPayload, Context, Plugin
from jackfield.connection import shares as module
from jackfield.store import keys
from jackfield.testing import RunningServer
from tests.support.topics import Member, nodes, serve_topics
from tests.support.waiting import wait_until

Config = Mapping[str, Any]

KEPT = 2**18
LARGE = "x" * 30_000

keeper = Plugin("keeper")
board = keeper.topic("board:{name}", AnyPayload, history=1000, ttl="1d")
looks = keeper.topic("looks:{name}", AnyPayload, presence=True)


@keeper.handler("keeper.set", AnyPayload)
async def set_fields(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    await ctx.state.set(**data)
    return {}


@keeper.handler("keeper.delete", AnyPayload)
async def delete_fields(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    await ctx.state.delete(*data)
    return {}


@keeper.handler("keeper.write", AnyPayload)
async def write(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    return (await board.publish(ctx, data, name="a"))._asdict()


@keeper.handler("keeper.send", AnyPayload)
async def send(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    return (await ctx.send_to_user("bob", data))._asdict()


@looks.info
async def look(ctx: Context, name: str) -> dict[str, Any]:
    return {"bio": LARGE}


@asynccontextmanager
async def server(config: Config, **limits: int) -> AsyncIterator[RunningServer]:
    limits = {"kept_bytes": KEPT, **limits}
    async with serve_topics(keeper, config={**config, "limits": limits}) as running:
        yield running


async def until_refused(member: Member, message_type: str, **payload: Any) -> tuple[int, Any]:
    """How often a request is answered, and the error that it is refused with then."""
    for number in range(2000):
        filled = {
            name: value.format(n=number) if isinstance(value, str) else value
            for name, value in payload.items()
        }
        answer = await member.request(message_type, **filled)
        if answer["type"] == "error":
            return number, answer["error"]
    raise AssertionError("it is never refused")


def check_refusal(error: Mapping[str, Any], limit: int = KEPT) -> None:
    assert error["code"] == "rate_limited", error
    assert error["retryable"]
    assert error["retry_after"] > 0
    assert error["limit"] == limit


async def test_a_client_publishes_up_to_its_share_and_others_go_on(config: Config) -> None:
    async with (
        server(config) as running,
        Member(running, "alice") as alice,
        Member(running, "alice") as again,
        Member(running, "bob") as bob,
    ):
        published, error = await until_refused(
            alice, "topic.publish", topic="feed:a", payload={"text": LARGE}
        )
        check_refusal(error)
        assert published == KEPT // 31_000
        # It is the user's share, not the connection's; and small things are refused no longer.
        check_refusal(await again.error("topic.publish", topic="feed:b", payload={"text": LARGE}))
        await again.publish("feed:a", {})
        await alice.reply("session.ping")
        await bob.publish("feed:a", {"text": LARGE})
        assert running.node.shares.refused["kept_bytes"] == 2


async def test_what_a_handler_publishes_for_a_client_is_charged_to_it(config: Config) -> None:
    async with server(config) as running, Member(running, "alice") as alice:
        written, error = await until_refused(alice, "keeper.write", text=LARGE)
        check_refusal(error)
        assert written == KEPT // 31_000
        # And what is kept of it nowhere is not.
        for _ in range(20):
            await alice.reply("topic.publish", topic="fleeting:a", payload={"text": LARGE})


async def test_what_the_server_itself_publishes_is_not_charged(config: Config) -> None:
    async with server(config) as running:
        for _ in range(20):
            await running.node.runtimes["keeper"].publish("board:a", {"text": LARGE})
        assert running.node.shares.refused.total() == 0


async def test_a_topic_of_short_history_costs_no_more_however_much_is_published(
    config: Config,
) -> None:
    async with server(config, publishes_per_second=10_000, requests_per_second=10_000) as running:
        async with Member(running, "alice") as alice:
            for _ in range(200):
                await alice.publish("brief:a", {"text": LARGE})
        assert running.node.shares.refused.total() == 0


async def test_ever_new_topics_are_refused_on_every_path(config: Config) -> None:
    async with server(config, new_topics_per_minute=10) as running:
        paths: list[tuple[str, dict[str, Any]]] = [
            ("topic.publish", {"payload": {}}),
            ("topic.subscribe", {}),
            ("topic.history", {}),
            ("topic.presence", {}),
        ]
        for number, (message_type, more) in enumerate(paths):
            async with Member(running, f"user{number}") as member:
                topic = f"room:{message_type[6:]}-{{n}}"
                opened, error = await until_refused(member, message_type, topic=topic, **more)
                check_refusal(error, 10)
                assert opened == 10, message_type
        assert running.node.shares.refused["new_topics_per_minute"] == 4


async def test_topics_that_are_there_are_not_counted_as_new(config: Config) -> None:
    async with nodes({**config, "limits": {"new_topics_per_minute": 3}}) as (one, other):
        runtime = one.node.runtimes["topics"]
        for number in range(20):
            await runtime.publish(f"feed:{number}", {})
        async with Member(one, "alice") as alice, Member(other, "alice") as far:
            for number in range(20):
                await alice.subscribe(f"feed:{number}")
                await far.publish(f"feed:{number}")
                await far.reply("topic.history", topic=f"feed:{number}")
            for number in range(3):
                await far.publish(f"feed:new-{number}")
            check_refusal(await far.error("topic.publish", topic="feed:n", payload={}), 3)
            # What it has brought to life it may go on with.
            await far.publish("feed:new-0")


async def test_fields_of_plugins_are_held_while_the_connection_lives(config: Config) -> None:
    async with server(config) as running, Member(running, "alice") as alice:
        async with Member(running, "alice") as other:
            for number in range(4):
                await other.reply("keeper.set", **{f"f{number}": LARGE, "same": ""})
            for number in range(3):
                await alice.reply("keeper.set", **{f"f{number}": LARGE})
            check_refusal(await alice.error("keeper.set", f3=LARGE, f4=LARGE))
            # Nothing has changed by that, and what is removed is free again.
            await alice.reply("keeper.delete", f0=1, f1=1)
            await alice.reply("keeper.set", f5=LARGE, f6=LARGE)
            await alice.reply("keeper.set", f3=LARGE)
            check_refusal(await alice.error("keeper.set", f4=LARGE))
        share = running.node.shares
        await wait_until(lambda: share.room(next(iter(running.node.hub))) > 0.5)
        await alice.reply("keeper.set", f7=LARGE, f8=LARGE)


async def test_what_others_see_of_a_member_is_held_while_it_is_one(config: Config) -> None:
    async with server(config) as running, Member(running, "alice") as alice:
        joined, error = await until_refused(alice, "topic.subscribe", topic="looks:{n}")
        check_refusal(error)
        assert joined == KEPT // 31_000
        check_refusal(await alice.error("topic.subscribe", topic="looks:more"))
        await alice.subscribe("looks:0")  # it is one already
        await alice.reply("topic.unsubscribe", topic="looks:0")
        await alice.subscribe("looks:more")
        check_refusal(await alice.error("topic.subscribe", topic="looks:0"))


async def test_keys_of_publications_are_charged(config: Config) -> None:
    async with server(config, publishes_per_second=10_000, requests_per_second=10_000) as running:
        async with Member(running, "alice") as alice:
            payload: dict[str, Any] = {}
            sent, error = await until_refused(
                alice, "topic.publish", topic="brief:a", payload=payload, key="k{n}"
            )
            check_refusal(error)
            assert sent == pytest.approx(KEPT / module.KEY_BYTES, rel=0.1)


async def test_all_nodes_together_count_from_the_next_heartbeat_on(config: Config) -> None:
    async with nodes({**config, "limits": {"kept_bytes": KEPT}}) as (one, other):
        async with Member(one, "alice") as alice, Member(other, "alice") as far:
            for _ in range(6):
                await alice.publish("feed:a", {"text": LARGE})
                await far.publish("feed:a", {"text": LARGE})
            for node in (one, other, one):
                await node.node.heartbeat.reconcile_shares()
            check_refusal(await far.error("topic.publish", topic="feed:a", payload={"t": LARGE}))
            check_refusal(await alice.error("topic.publish", topic="feed:a", payload={"t": LARGE}))
            names = await one.node.redis.execute("HGETALL", one.node.keys.share("u:alice"))
            assert {name for name in names if not name.startswith(b"@")} == {b"4096"}


async def test_what_is_held_at_another_node_counts_and_ends_with_it(config: Config) -> None:
    config = {**config, "limits": {"kept_bytes": KEPT}}
    async with (
        serve_topics(keeper, config=config) as one,
        serve_topics(keeper, config=config) as two,
    ):
        async with Member(one, "alice") as alice, Member(two, "alice") as far:
            await far.reply("keeper.set", **{f"f{number}": LARGE for number in range(2)})
            await far.reply("keeper.set", **{f"g{number}": LARGE for number in range(2)})
            await two.node.heartbeat.reconcile_shares()
            await alice.publish("feed:a", {})
            await one.node.heartbeat.reconcile_shares()
            for number in range(2):
                await alice.reply("keeper.set", **{f"f{number}": LARGE, f"g{number}": LARGE})
            check_refusal(await alice.error("keeper.set", more=LARGE))
        await wait_until(lambda: not len(two.node.hub))
        await two.node.heartbeat.reconcile_shares()
        async with Member(one, "alice") as alice:
            await alice.publish("feed:a", {})
            await one.node.heartbeat.reconcile_shares()
            await alice.reply("keeper.set", f0=LARGE, f1=LARGE)


async def test_the_anonymous_have_a_share_each_and_one_by_address(config: Config) -> None:
    config = {**config, "server": {"trusted_proxies": ["127.0.0.1"]}}
    async with server(config, kept_bytes_per_address=2 * KEPT + KEPT // 2) as running:
        here, there = ({"X-Forwarded-For": f"192.0.2.{each}"} for each in (7, 8))
        limits = []
        for _ in range(4):
            async with Member(running, headers=here) as somebody:
                _, error = await until_refused(
                    somebody, "topic.publish", topic="feed:a", payload={"text": LARGE}
                )
                limits.append(error["limit"])
        assert limits == [KEPT, KEPT, 2.5 * KEPT, 2.5 * KEPT]
        async with Member(running, headers=there) as neighbour:
            await neighbour.publish("feed:a", {"text": LARGE})
        async with Member(running, "alice") as alice:
            await alice.publish("feed:a", {"text": LARGE})


async def test_a_nearly_full_redis_keeps_nothing_more_for_clients_and_all_else_goes_on(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(config) as running, Member(running, "alice") as alice:

        async def look() -> None:
            """Leave it as the test has it."""

        monkeypatch.setattr(running.node.memory, "look", look)
        await alice.subscribe("room:a")
        await alice.publish("room:a", {"n": 1})
        running.node.memory.nearly_full = True
        for message_type, payload in (
            ("topic.publish", {"topic": "room:a", "payload": {}}),
            ("topic.publish", {"topic": "fleeting:a", "payload": {}, "key": "k"}),
            ("keeper.write", {}),
            ("keeper.send", {}),
            ("keeper.set", {"a": 1}),
        ):
            answer = await alice.request(message_type, **payload)
            assert answer["error"]["code"] == "unavailable", message_type
            assert answer["error"]["retry_after"] > 0
        # Connections, presence, subscriptions, and what is read or not kept.
        async with Member(running, "bob") as bob:
            await bob.subscribe("room:a")
            await bob.subscribe("looks:a")
            presence = await bob.reply("topic.presence", topic="room:a")
            assert {member["user"] for member in presence["members"]} == {"alice", "bob"}
            assert len((await bob.reply("topic.history", topic="room:a"))["events"]) == 1
            await bob.publish("fleeting:a", {})
        running.node.memory.nearly_full = False
        await alice.publish("room:a", {"n": 2})


async def test_the_shares_of_users_and_addresses_have_keys_of_their_own() -> None:
    made = keys.Keys("p", "n")
    assert made.share("u:a}b") == "p:{u:a%7Db}:share"
    assert made.share("ip:192.0.2.7") == "p:{ip:192.0.2.7}:share"
    assert made.share(f"u:{secrets.token_hex(2)}") != made.share("u:alice")
