"""An agent has an owner: others can't have its name, its calls or its tasks."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from jackfield.agents.call import CallOptions
from jackfield.agents.ownership import SCOPE
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from tests.support.node_agents import COUNT, SAY, NodeAgents, Peer, node_agents

Config = Mapping[str, Any]
TAKEN = ["agent:echo"]


@pytest.fixture
async def node(config: Config) -> AsyncIterator[NodeAgents]:
    async with node_agents(config) as node:
        yield node


def holder(node: NodeAgents, user: str = "ops", **options: Any) -> Peer:
    """A client that may take the agent ``echo`` over."""
    options.setdefault("connection_id", user)
    return Peer(node.agents, user, SCOPE, "agent:echo", **options)


async def refused(awaitable: Any) -> Error:
    with pytest.raises(Error) as error:
        await awaitable
    return error.value


async def call(node: NodeAgents, user: str = "ada", skill: str = "say") -> str:
    """Call the agent and leave it to itself; the task."""
    stream = node.caller(user).access.call("echo", skill, {"to": 1}, detach=True)
    return str((await anext(stream)).payload["task"])


async def skills(node: NodeAgents) -> set[str]:
    return set((await node.agents.store.read(["echo"]))[0].skills)


async def test_another_user_cannot_have_a_registered_name(node: NodeAgents) -> None:
    bot, eve = node.bot(), node.bot("eve", connection_id="eve")
    await bot.register()
    error = await refused(eve.register(COUNT, capacity=1000))
    assert (error.code, error.retryable, error.extra["scopes"]) == ("forbidden", False, TAKEN)
    assert await skills(node) == {"say"}
    task = await call(node)
    assert (await bot.next())["task"] == task
    assert eve.sent() == []


async def test_a_name_stays_its_owners_while_nobody_serves_it(node: NodeAgents) -> None:
    bot, eve = node.bot(), node.bot("eve", connection_id="eve")
    await bot.register()
    await node.agents.store.leave("echo", bot.access._registered.id, left=True)  # type: ignore[union-attr]
    task = await call(node)
    assert (await refused(eve.register())).extra["scopes"] == TAKEN
    again = node.bot(connection_id="again")
    await again.register()
    assert (await again.next())["task"] == task


async def test_all_the_anonymous_are_one_owner(node: NodeAgents) -> None:
    await node.bot(None, connection_id="one").register()
    await node.bot(None, connection_id="two").register()
    assert (await refused(node.bot("eve", connection_id="eve").register())).code == "forbidden"


async def test_of_two_users_at_two_nodes_at_once_one_gets_the_name(config: Config) -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node_agents(config)) for _ in range(2)]
        users = [nodes[n % 2].bot(f"u{n}", connection_id=f"c{n}").register() for n in range(10)]
        outcomes = await asyncio.gather(*users, return_exceptions=True)
        lost = [each for each in outcomes if isinstance(each, Error)]
        assert len(lost) == 9
        assert {each.code for each in lost} == {"forbidden"}


async def test_who_holds_the_scope_takes_the_name_over(node: NodeAgents) -> None:
    bot, ops = node.bot(), holder(node)
    await bot.register(SAY, COUNT)
    mine = await call(node)
    await bot.next()
    await ops.register(SAY)
    told = await bot.next("unregistered")
    assert (told["name"], told["error"]["code"]) == ("echo", "forbidden")
    assert told["error"]["scopes"] == TAKEN
    assert await skills(node) == {"say"}
    # Calls go to the new owner; what the former one has it may end, and no more.
    task = await call(node)
    assert (await ops.next())["task"] == task
    assert (await bot.access.complete(mine, 1, {}))["state"] == "completed"
    assert (await refused(bot.access.complete(task, 1, {}))).code == "not_found"
    assert (await refused(bot.register())).extra["scopes"] == TAKEN
    await node.renew()
    assert bot.sent() == []  # it is told once


async def test_a_former_owner_that_was_not_reached_is_told_at_the_next_renewal(
    node: NodeAgents,
) -> None:
    bot = node.bot()
    await bot.register()
    channel = node.agents.channels.by_agent["echo"]
    away = channel.instances.pop(bot.access._registered.id)  # type: ignore[union-attr]
    await holder(node).register()
    await node.agents.store.sweep(["echo"])
    channel.instances[away.id] = away
    await node.renew()
    assert (await bot.next("unregistered"))["name"] == "echo"


async def test_holders_of_the_scope_serve_a_name_together(node: NodeAgents) -> None:
    one, two = holder(node, "one"), holder(node, "two")
    await one.register()
    await two.register()
    tasks = {await call(node), await call(node)}
    assert {(await one.next())["task"], (await two.next())["task"]} == tasks


async def test_who_loses_the_scope_loses_what_it_had_by_it(node: NodeAgents) -> None:
    await node.bot().register()
    ops = holder(node)
    await ops.register()
    ops.connection.identify(Identity("ops", frozenset({SCOPE})))
    await node.agents.check_again(ops.connection)
    assert (await refused(ops.access.complete("echo." + "x" * 22, 1, {}))).code == "conflict"


async def test_an_agent_of_an_older_node_is_its_instances_owners(node: NodeAgents) -> None:
    bot = node.bot()
    await bot.register()
    owner = node.keys.agent("echo") + ":owner"
    await node.redis.execute("DEL", owner)  # as an older node leaves it
    assert (await refused(node.bot("eve", connection_id="eve").register())).code == "forbidden"
    await node.bot(connection_id="again").register()
    assert await node.redis.execute("GET", owner) == b"bot"


async def test_tasks_of_another_instance_are_not_to_be_had(node: NodeAgents) -> None:
    bot = node.bot()
    registered = await bot.register()
    task = await call(node)
    await bot.next()
    eve = node.bot("eve", connection_id="eve")
    await eve.access.register("eves", [SAY])
    for attempt in (
        eve.access.update(task, 1, seq=0, chunks=[{}]),
        eve.access.complete(task, 1, {}),
        eve.access.fail(task, 1, "no"),
        eve.access.release(task, 1),
    ):
        assert (await refused(attempt)).code == "not_found"
    ops = holder(node)
    error = await refused(ops.register(instance=registered["instance"]))
    assert (error.code, error.extra["scopes"]) == ("forbidden", [])


# How much one user may take.


async def test_a_user_may_have_so_many_agents(config: Config) -> None:
    async with node_agents(config, agents={"per_user": 2}) as node:
        store = node.agents.store

        async def register(name: str, user: str) -> None:
            bot = node.bot(user, connection_id=f"{user}-{name}")
            await bot.access.register(name, [SAY])

        await register("a", "eve")
        await register("b", "eve")
        error = await refused(register("c", "eve"))
        assert (error.code, error.retryable, error.extra["limit"]) == ("rate_limited", True, 2)
        await register("b", "eve")
        await register("c", "ada")
        # What will not change is told before what may.
        assert (await refused(register("c", "eve"))).code == "forbidden"
        assert (await refused(register("a", "bob"))).code == "forbidden"
        await register("d", "bob")  # what he was refused does not count
        await register("e", "bob")
        assert await store.agents() == ["a", "b", "c", "d", "e"]


async def test_the_skills_of_an_agent_are_bounded_together(config: Config) -> None:
    async with node_agents(config, agents={"skills_bytes": 2048}) as node:
        big = [{"id": f"s{n}", "description": "x" * 900} for n in range(4)]
        error = await refused(node.bot().register(*big))
        assert (error.code, error.extra["limit"]) == ("too_large", 2048)
        first = node.bot(connection_id="first")
        await first.register(*big[:2])
        error = await refused(node.bot(connection_id="second").register(*big[2:]))
        assert error.code == "too_large"
        await first.access.unregister()
        await node.bot(connection_id="second").register(*big[2:])
        assert await skills(node) == {"s2", "s3"}


async def test_one_caller_cannot_fill_the_queue_of_an_agent(config: Config) -> None:
    async with node_agents(config, agents={"queue": 6, "queue_per_user": 2}) as node:
        bot = node.bot()
        await bot.register(capacity=1)
        first = await call(node, "eve")
        waiting = [await call(node, "eve") for _ in range(2)]
        error = await refused(call(node, "eve"))
        assert (error.code, error.retryable, error.extra["limit"]) == ("rate_limited", True, 2)
        assert error.extra["retry_after"] > 0
        await call(node, "ada")
        # One that no longer waits, however that came, makes room.
        await node.caller("eve").access.cancel(waiting[1])
        await call(node, "eve")
        await bot.next()
        await bot.access.complete(first, 1, {})
        await call(node, "eve")
        assert (await refused(call(node, "eve"))).code == "rate_limited"


async def test_one_caller_never_has_more_than_half_of_a_queue(config: Config) -> None:
    async with node_agents(config, agents={"queue": 4, "queue_per_user": 100}) as node:
        await node.bot().register(capacity=1)
        for _ in range(3):
            await call(node, "eve")
        assert (await refused(call(node, "eve"))).extra["limit"] == 2
        for user in ("ada", "bob"):
            await call(node, user)
        error = await refused(call(node, "cem"))
        assert (error.code, error.extra["limit"]) == ("unavailable", 4)


async def test_the_servers_own_calls_have_no_share(config: Config) -> None:
    async with node_agents(config, agents={"queue": 4, "queue_per_user": 1}) as node:
        await node.bot().register(capacity=1)
        known = await node.agents.directory.find("echo", "say")
        for _ in range(5):
            await node.agents.call(CallOptions(known, {}, None, follow=False))
        assert node.agents.called == 5


async def test_what_an_older_node_has_queued_is_handed_out_and_takes_no_share(
    config: Config,
) -> None:
    async with node_agents(config, agents={"queue": 4, "queue_per_user": 1}) as node:
        bot = node.bot()
        await bot.register(capacity=1)
        first, second = await call(node, "eve"), await call(node, "eve")
        key, agent = node.keys.task("echo", second), node.keys.agent("echo")
        run = node.redis.execute
        # An older node writes no caller, and counts none.
        old = await run("HGET", key, "entry")
        await run("XDEL", f"{agent}:work:say", old)
        entry = await run("XADD", f"{agent}:work:say", "*", "t", second)
        await run("HSET", key, "entry", entry)
        await run("HDEL", key, "payer")
        await run("DEL", f"{agent}:callers")
        third = await call(node, "eve")
        for task in (first, second, third):
            assert (await bot.next())["task"] == task
            await bot.access.complete(task, 1, {})
        await call(node, "eve")
        await call(node, "eve")
        assert (await refused(call(node, "eve"))).code == "rate_limited"


async def test_a_name_is_its_owners_for_as_long_as_a_call_waits(config: Config) -> None:
    async with node_agents(config, agents={"remember": "1m", "timeout": "1h"}) as node:
        await node.bot().register()
        owner = node.keys.agent_owner("echo")
        assert await node.redis.execute("PTTL", owner) <= 60_000
        await call(node)
        assert await node.redis.execute("PTTL", owner) > 3_500_000


async def test_while_redis_is_nearly_full_nobody_gets_another_agent(node: NodeAgents) -> None:
    await node.bot().register()
    memory: Any = node.agents.shares._memory
    node.agents.shares._memory = full = SimpleNamespace(nearly_full=True)  # type: ignore[assignment]
    await node.bot(connection_id="again").register()
    new = node.bot(connection_id="new").access.register("another", [SAY])
    error = await refused(new)
    assert (error.code, error.retryable) == ("unavailable", True)
    full.nearly_full = False
    await node.bot(connection_id="new").access.register("another", [SAY])
    node.agents.shares._memory = memory
