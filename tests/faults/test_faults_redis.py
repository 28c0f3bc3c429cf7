"""Redis held still, restarted, emptied, full or read-only, under load: nothing is lost unsaid."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jackfield.client import Client, RequestError
from tests.support.followers import Position
from tests.support.load import load
from tests.support.nodes import NodeProcess, impatient, serving
from tests.support.paths import ROOMS
from tests.support.valkeys import Valkey, single_valkey
from tests.support.waiting import promptly, wait_until

LINE = {"by": "test", "number": 1}


@pytest.fixture
async def node(valkey: Valkey) -> AsyncIterator[NodeProcess]:
    async with serving(impatient(valkey.url), ROOMS) as node:
        await wait_until(node.is_ready)
        yield node


@asynccontextmanager
async def node_with_data(folder: Path) -> AsyncIterator[tuple[Valkey, NodeProcess]]:
    """A server whose Redis has its data again when it is restarted, even a killed one."""
    async with (
        single_valkey(data=folder) as valkey,
        serving(impatient(valkey.url), ROOMS) as node,
    ):
        await wait_until(node.is_ready)
        yield valkey, node


async def publish(client: Client, topic: str, **more: Any) -> dict[str, Any]:
    return await client.request("topic.publish", {"topic": topic, "payload": LINE, **more})


async def refusal(client: Client, topic: str) -> RequestError:
    with pytest.raises(RequestError) as refused:
        await publish(client, topic)
    return refused.value


def accepts(client: Client, topic: str) -> Any:
    """A condition: the topic can be published to."""

    async def condition() -> bool:
        try:
            await publish(client, topic, key="once")
        except RequestError:
            return False
        return True

    return condition


async def test_a_redis_that_stands_still_loses_nothing_and_blocks_nobody(
    valkey: Valkey, node: NodeProcess
) -> None:
    async with node.connect() as client, load(node.url) as running:
        await running.goes_on()
        with valkey.paused():
            await running.is_refused()
            async with promptly():  # each would wait for the timeout of a call, 500 ms
                for number in range(100):
                    assert await client.request("session.ping", {"n": number}) == {"n": number}
            status, reasons = await node.readyz()
            assert status == 503
            assert "redis" in reasons
        await running.goes_on()
        await running.ends_well()
    assert [follower.gaps for follower in running.followers] == [[]] * len(running.followers)


async def test_a_redis_restarted_with_its_data_begins_an_epoch_and_everyone_is_told(
    tmp_path: Path,
) -> None:
    async with (
        node_with_data(tmp_path) as (valkey, node),
        node.connect() as client,
        load(node.url) as running,
    ):
        await running.goes_on()
        await valkey.kill()
        await running.is_refused()
        await valkey.start()
        await running.goes_on()
        await running.ends_well()
        for follower in running.followers:
            assert [gap.after.epoch != gap.upto.epoch for gap in follower.gaps] == [True]
        first = running.publishers[0].acknowledged[0]
        history = await client.request(
            "topic.history", {"topic": "room:lobby", "after": first.offset - 1, "limit": 1}
        )
        assert history["epoch"] != first.epoch
        (event,) = history["events"]
        assert (event["offset"], event["payload"]) == (first.offset, {"by": "p0", "number": 1})


async def test_a_redis_restarted_without_its_data_is_told_and_goes_on(
    valkey: Valkey, node: NodeProcess
) -> None:
    async with node.connect() as client, load(node.url, publishers=0) as running:
        for number in range(3):
            await publish(client, "room:lobby", key=f"{number}")
        await valkey.kill()
        assert (await refusal(client, "room:lobby")).code == "unavailable"
        await valkey.start()
        await wait_until(lambda: all(follower.gaps for follower in running.followers))
        await wait_until(accepts(client, "room:lobby"))
        for number in range(3):
            position = await publish(client, "room:lobby", key=f"{number}")
        last = Position(**position)
        await wait_until(lambda: all(each.position == last for each in running.followers))
        for follower in running.followers:
            assert follower.faults == []
            assert len(follower.gaps) == 1
            assert len(follower.events) == 7


async def test_scripts_that_redis_forgets_are_nothing_to_notice(
    valkey: Valkey, node: NodeProcess
) -> None:
    async with load(node.url) as running:
        for _ in range(5):
            await valkey.ask("SCRIPT FLUSH")
            await running.goes_on(3)
        await running.ends_well()
    assert [publisher.refusals for publisher in running.publishers] == [{}, {}]
    assert [follower.gaps for follower in running.followers] == [[]] * len(running.followers)


async def test_a_full_redis_takes_no_publication_and_still_lets_subscribe(
    valkey: Valkey, node: NodeProcess
) -> None:
    async with node.connect() as client, node.connect() as another:
        before = await publish(client, "feed:news")
        await valkey.ask("CONFIG SET", "maxmemory-policy", "noeviction")
        await valkey.ask("CONFIG SET", "maxmemory", "100kb")
        refused = await refusal(client, "feed:news")
        assert (refused.code, refused.retryable) == ("unavailable", True)
        assert refused.extra["retry_after"] > 0
        assert await another.request("topic.subscribe", {"topic": "feed:news"}) == before
        await valkey.ask("CONFIG SET", "maxmemory", 0)
        await wait_until(accepts(client, "feed:news"))
        event = await anext(another.events())
        assert event == {
            "type": "event",
            "topic": "feed:news",
            "offset": before["offset"] + 1,
            "payload": LINE,
        }


async def test_a_redis_that_became_a_replica_takes_no_publication_until_it_is_master_again(
    valkey: Valkey, node: NodeProcess
) -> None:
    async with node.connect() as client, load(node.url) as running:
        await running.goes_on()
        await valkey.ask("REPLICAOF", "127.0.0.1", 1)  # where nobody is
        await running.is_refused()
        assert (await refusal(client, "room:lobby")).code == "unavailable"
        await valkey.ask("REPLICAOF", "NO", "ONE")
        await running.goes_on()
        await running.ends_well()
    assert [follower.gaps for follower in running.followers] == [[]] * len(running.followers)
