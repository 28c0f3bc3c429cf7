"""Nodes killed or held still: the others announce who left, once, and their clients go on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from jackfield.client import Client
from tests.support.followers import Follower, Position
from tests.support.load import load
from tests.support.nodes import NodeProcess, impatient, serving
from tests.support.paths import ROOMS
from tests.support.valkeys import Valkey
from tests.support.waiting import wait_until

#: A node that is silent for as long as this TTL is dead to the others.
SHORT_LIVED = {"heartbeat": "500ms", "ttl": "2500ms"}


@asynccontextmanager
async def nodes(valkey: Valkey, count: int) -> AsyncIterator[list[NodeProcess]]:
    config = impatient(valkey.url, connections=SHORT_LIVED)
    async with AsyncExitStack() as stack:
        started = (stack.enter_async_context(serving(config, ROOMS)) for _ in range(count))
        all_nodes = list(await asyncio.gather(*started))
        for node in all_nodes:
            await wait_until(node.is_ready)
        yield all_nodes


def follower(node: NodeProcess) -> Follower:
    return Follower(lambda: node.url, "room:lobby")


@asynccontextmanager
async def following(*followers: Follower) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.run()) for each in followers]
        try:
            await wait_until(lambda: all(each.subscriptions for each in followers))
            yield
        finally:
            for task in tasks:
                task.cancel()


def left(follower: Follower) -> Counter[str]:
    """Whose leaving a follower was told of, and how often."""
    return Counter(
        message["left"]["connection"] for message in follower.presence if "left" in message
    )


async def members(client: Client) -> set[str]:
    reply = await client.request("topic.presence", {"topic": "room:lobby"})
    assert reply["count"] == len(reply["members"])
    return {member["connection"] for member in reply["members"]}


async def forgotten(valkey: Valkey, node: NodeProcess) -> bool:
    return await valkey.ask("ZSCORE", "test:nodes", node.id) is None


async def publish(client: Client, number: int) -> Position:
    line = {"by": "test", "number": number}
    reply = await client.request("topic.publish", {"topic": "room:lobby", "payload": line})
    return Position(**reply)


async def test_the_clients_of_a_killed_node_are_announced_once_as_gone(valkey: Valkey) -> None:
    async with nodes(valkey, 3) as (doomed, second, third):
        observers = [
            Follower(lambda: second.url, "room:lobby"),
            Follower(lambda: third.url, "room:lobby"),
        ]
        lost = [Follower(lambda: doomed.url, "room:lobby") for _ in range(5)]
        async with second.connect() as client, following(*observers), following(*lost):
            ids = {follower.connection for follower in lost}
            await doomed.kill()
            await wait_until(lambda: all(set(left(each)) >= ids for each in observers))
            # Whoever would announce them once more finds them by their node.
            await wait_until(lambda: forgotten(valkey, doomed))
            position = await publish(client, 1)
            await wait_until(lambda: all(each.position == position for each in observers))
            for observer in observers:
                assert left(observer) == dict.fromkeys(ids, 1)
            assert await members(client) == {observer.connection for observer in observers}


async def test_the_clients_of_a_killed_node_go_on_at_another(valkey: Valkey) -> None:
    async with nodes(valkey, 2) as (doomed, survivor):
        async with load(doomed.url, survivor.url) as running:
            await running.goes_on()
            await doomed.kill()
            await running.goes_on()
            await running.ends_well()
            for follower in running.followers:
                assert follower.gaps == []
            assert sum(follower.subscriptions for follower in running.followers) >= 9


async def test_a_node_that_slept_past_its_ttl_sends_its_clients_away_and_leaves_no_ghosts(
    valkey: Valkey,
) -> None:
    async with nodes(valkey, 2) as (sleeper, awake):
        observer = follower(awake)
        lost = [follower(sleeper) for _ in range(5)]
        async with awake.connect() as client, following(observer), following(*lost):
            ids = {follower.connection for follower in lost}
            with sleeper.paused():
                await wait_until(lambda: set(left(observer)) >= ids)
                assert await members(client) == {observer.connection}
                await publish(client, 1)
            await wait_until(lambda: all(each.closed for each in lost))
            assert [each.closed for each in lost] == [[4006]] * len(lost)
            await wait_until(lambda: all(each.subscriptions == 2 for each in lost))
            position = await publish(client, 2)
            everyone = [observer, *lost]
            await wait_until(lambda: all(each.position == position for each in everyone))
            for each in everyone:
                assert (each.faults, each.gaps) == ([], [])
                assert [event.payload["number"] for event in each.events] == [1, 2]
            assert left(observer) == dict.fromkeys(ids, 1)
            assert await members(client) == {each.connection for each in everyone}
