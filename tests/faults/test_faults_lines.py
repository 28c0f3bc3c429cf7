"""Lines to Redis that break or fall silent: what was lost on them is made good."""

from collections.abc import AsyncIterator

import pytest

from jackfield.client import RequestError
from tests.support.followers import Event
from tests.support.load import load
from tests.support.nodes import NodeProcess, impatient, serving
from tests.support.paths import ROOMS
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

#: What a connection has sent that is a pub/sub link.
LINK = "SSUBSCRIBE"


@pytest.fixture
async def node(proxy: Proxy) -> AsyncIterator[NodeProcess]:
    async with serving(impatient(proxy.url), ROOMS) as node:
        await wait_until(node.is_ready)
        yield node


async def test_a_publication_whose_reply_was_lost_is_not_repeated_under_its_key(
    proxy: Proxy, node: NodeProcess
) -> None:
    line = {"by": "said once", "number": 1}
    request = {"topic": "room:lobby", "payload": line, "key": "once"}
    async with node.connect() as client, load(node.url, publishers=0, followers=2) as running:
        happened = proxy.cut_after_request(b"said once")
        with pytest.raises(RequestError) as lost:
            await client.request("topic.publish", request)
        assert (lost.value.code, lost.value.retryable) == ("unavailable", True)
        assert happened.is_set()
        position = await client.request("topic.publish", request)
        assert position == await client.request("topic.publish", request)
        last = await client.request("topic.publish", {**request, "key": "another"})
        assert last["offset"] == position["offset"] + 1
        await wait_until(lambda: all(len(each.events) == 2 for each in running.followers))
        for follower in running.followers:
            assert follower.events == [
                Event(position["offset"], line),
                Event(last["offset"], line),
            ]
            assert (follower.faults, follower.gaps) == ([], [])


async def test_a_pubsub_link_gone_silent_is_found_told_and_made_good(
    proxy: Proxy, node: NodeProcess
) -> None:
    async with load(node.url) as running:
        await running.goes_on()
        await wait_until(node.is_ready)
        proxy.black_hole(LINK)

        async def is_told() -> bool:
            _, reasons = await node.readyz()
            return reasons == ["bus"]

        await wait_until(is_told)
        published = sum(len(each.acknowledged) for each in running.publishers)
        await wait_until(
            lambda: sum(len(each.acknowledged) for each in running.publishers) > published + 20
        )
        proxy.heal()
        await running.goes_on()
        await wait_until(node.is_ready)
        await running.ends_well()
    assert [follower.gaps for follower in running.followers] == [[]] * len(running.followers)
    assert [follower.subscriptions for follower in running.followers] == [1] * 6


async def test_a_pubsub_link_that_died_unnoticed_is_replaced_and_what_it_lost_made_good(
    proxy: Proxy, node: NodeProcess
) -> None:
    async with load(node.url) as running:
        for _ in range(2):
            assert proxy.strand(LINK) == 1
            await running.goes_on()
            await wait_until(node.is_ready)
        await running.ends_well()
    assert [follower.gaps for follower in running.followers] == [[]] * len(running.followers)


async def test_a_pubsub_link_cut_again_and_again_loses_nothing(
    proxy: Proxy, node: NodeProcess
) -> None:
    async with load(node.url) as running:
        for _ in range(5):
            await wait_until(lambda: proxy.cut(LINK) > 0)
            await running.goes_on(5)
        await running.ends_well()
    assert [follower.gaps for follower in running.followers] == [[]] * len(running.followers)


async def test_all_lines_cut_and_refused_for_a_while_lose_nothing(
    proxy: Proxy, node: NodeProcess
) -> None:
    async with load(node.url) as running:
        for _ in range(3):
            proxy.refuse()
            proxy.cut()
            await running.is_refused(1)
            proxy.accept()
            await running.goes_on(5)
        await running.ends_well()
    assert [follower.gaps for follower in running.followers] == [[]] * len(running.followers)


async def test_requests_swallowed_by_the_line_are_answered_within_their_bound(
    proxy: Proxy, node: NodeProcess
) -> None:
    async with node.connect() as client, load(node.url) as running:
        proxy.black_hole()
        await running.is_refused()
        assert await client.request("session.ping", timeout=10) == {}
        proxy.heal()
        await running.goes_on()
        await running.ends_well()
    assert [follower.gaps for follower in running.followers] == [[]] * len(running.followers)
