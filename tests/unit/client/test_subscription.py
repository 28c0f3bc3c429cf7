"""A subscription gives every event once and in order, and a gap where one is missing."""

import asyncio
from typing import Any

import pytest

from jackfield.client import Event, Gap, Position, RequestError
from jackfield.client.multiplexer import Multiplexer
from jackfield.client.subscription import Subscription
from tests.support.peer import Peer

SINCE = Position("e1", 1)


def event(offset: int) -> dict[str, Any]:
    return {"topic": "t", "offset": offset, "payload": {"n": offset}}


async def subscribed(
    multiplexer: Multiplexer, peer: Peer, since: Position | None = None, **reply: Any
) -> Subscription:
    """Enter a subscription of the topic ``t``, which the server answers with this reply."""
    subscription = Subscription(multiplexer, "t", since, None)
    entering = asyncio.create_task(subscription.__aenter__())
    request = await peer.receive()
    assert request["type"] == "topic.subscribe"
    await peer.send("reply", id=request["id"], payload={"epoch": "e1", "offset": 3, **reply})
    return await entering


async def test_it_begins_where_the_topic_stands(multiplexer: Multiplexer, peer: Peer) -> None:
    subscription = await subscribed(multiplexer, peer)
    assert (subscription.position, subscription.recovered) == (Position("e1", 3), None)
    await peer.send("event", **event(4))
    assert await anext(subscription) == Event(4, {"n": 4}, "e1")
    assert subscription.position == Position("e1", 4)


async def test_what_was_missed_comes_first(multiplexer: Multiplexer, peer: Peer) -> None:
    missed = [event(2), event(3)]
    subscription = await subscribed(multiplexer, peer, SINCE, recovered=True, events=missed)
    assert (subscription.position, subscription.recovered) == (SINCE, True)
    await peer.send("event", **event(4))
    assert [(await anext(subscription)).offset for _ in range(3)] == [2, 3, 4]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "reply",
    [
        {"recovered": False},
        {"recovered": True, "events": []},
        {"recovered": True, "events": [event(3)]},
        {"recovered": True, "events": [event(2)]},
        {"recovered": True, "events": [event(3), event(2)]},
        {"recovered": False, "epoch": "e2", "offset": 1},
    ],
)
async def test_a_gap_stands_for_events_that_the_reply_lacks_whatever_it_claims(
    multiplexer: Multiplexer, peer: Peer, reply: dict[str, Any]
) -> None:
    subscription = await subscribed(multiplexer, peer, SINCE, **reply)
    assert subscription.recovered is False
    position = Position(reply.get("epoch", "e1"), reply.get("offset", 3))
    assert await anext(subscription) == Gap(*position)
    assert subscription.position == position


async def test_an_event_that_comes_twice_is_given_once(
    multiplexer: Multiplexer, peer: Peer
) -> None:
    subscription = await subscribed(multiplexer, peer)
    for offset in (3, 4, 4, 5):
        await peer.send("event", **event(offset))
    assert [(await anext(subscription)).offset for _ in range(2)] == [4, 5]  # type: ignore[union-attr]


async def test_an_event_that_is_missing_is_asked_for(multiplexer: Multiplexer, peer: Peer) -> None:
    subscription = await subscribed(multiplexer, peer)
    await peer.send("event", **event(5))
    reading = asyncio.create_task(anext(subscription))
    request = await peer.receive()
    assert request["payload"] == {"topic": "t", "since": {"epoch": "e1", "offset": 3}}
    reply = {"epoch": "e1", "offset": 5, "recovered": True, "events": [event(4), event(5)]}
    await peer.send("reply", id=request["id"], payload=reply)
    assert await reading == Event(4, {"n": 4}, "e1")
    assert await anext(subscription) == Event(5, {"n": 5}, "e1")


async def test_a_topic_has_one_subscription_at_a_time(multiplexer: Multiplexer, peer: Peer) -> None:
    first = await subscribed(multiplexer, peer)
    with pytest.raises(ValueError, match="subscribed to 't' already"):
        await Subscription(multiplexer, "t", None, None).__aenter__()
    await first.__aexit__()
    assert (await peer.receive())["type"] == "topic.unsubscribe"
    await subscribed(multiplexer, peer)


async def test_a_refused_subscription_leaves_nothing(multiplexer: Multiplexer, peer: Peer) -> None:
    entering = asyncio.create_task(Subscription(multiplexer, "t", None, None).__aenter__())
    error = {"code": "not_found", "message": "No such topic."}
    await peer.send("error", id=(await peer.receive())["id"], error=error)
    with pytest.raises(RequestError, match="No such topic"):
        await entering
    assert (multiplexer.subscribed, multiplexer.topics) == (set(), {})
    assert peer.received_nothing_more()


async def test_what_arrives_after_leaving_is_dropped_until_the_server_has_answered(
    multiplexer: Multiplexer, peer: Peer
) -> None:
    subscription = await subscribed(multiplexer, peer)
    await subscription.__aexit__()
    request = await peer.receive()
    await peer.send("event", **event(4))
    await peer.send("reply", id=request["id"], payload={})
    await peer.send("event", **event(5))
    assert (await multiplexer.events.get())["offset"] == 5
    with pytest.raises(StopAsyncIteration):
        await anext(subscription)


async def test_a_topic_that_the_server_subscribed_to_is_left_without_a_request(
    multiplexer: Multiplexer, peer: Peer
) -> None:
    multiplexer.automatic_topics = ["t"]
    subscription = await subscribed(multiplexer, peer)
    await subscription.__aexit__()
    await peer.send("event", **event(4))
    assert (await multiplexer.events.get())["offset"] == 4
    assert peer.received_nothing_more()
