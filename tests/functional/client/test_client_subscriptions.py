"""What the Python client makes of topics, against a server whose every word the test speaks."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from jackfield.client import (
    Client,
    ConnectionClosed,
    Event,
    Gap,
    Position,
    Presence,
    RequestError,
    Subscription,
    connect,
)
from tests.support.peer import Peer, Room, Server
from tests.support.reading import read_all


async def send_event(peer: Peer, offset: int, topic: str = "room:lobby") -> None:
    await peer.send("event", topic=topic, offset=offset, payload={"n": offset})


async def accept(peer: Peer, offset: int = 12, **more: Any) -> dict[str, Any]:
    """Answer a subscription; returns what it asked for."""
    request = await peer.receive()
    assert request["type"] == "topic.subscribe"
    payload = {"epoch": "e1", "offset": offset, **more}
    await peer.send("reply", id=request["id"], payload=payload)
    return dict(request["payload"])


async def settle(client: Client, peer: Peer) -> None:
    """Wait until the client has read all that was sent to it."""
    asking = asyncio.create_task(client.request("session.ping"))
    request = await peer.receive()
    assert request["type"] == "session.ping"
    await peer.send("reply", id=request["id"], payload={})
    await asking


def event(offset: int, epoch: str = "e1") -> Event:
    return Event(offset, {"n": offset}, epoch)


def wire_event(offset: int) -> dict[str, Any]:
    return {"type": "event", "topic": "room:lobby", "offset": offset, "payload": {"n": offset}}


class Subscribed:
    """A subscription of a client, made by a task while the test speaks for the server."""

    def __init__(self, client: Client, since: Position | None = None) -> None:
        self._subscription = client.subscribe("room:lobby", since=since)
        self._entering = asyncio.create_task(self._subscription.__aenter__())

    async def __call__(self) -> Subscription:
        return await self._entering


# What comes


async def test_events_come_in_order_from_where_the_topic_stood(client: Client, peer: Peer) -> None:
    subscribed = Subscribed(client)
    assert await accept(peer, 12) == {"topic": "room:lobby"}
    await send_event(peer, 13)  # on the heels of the reply
    subscription = await subscribed()
    assert subscription.topic == "room:lobby"
    assert subscription.recovered is None
    assert subscription.position == Position("e1", 12)
    await send_event(peer, 14)
    assert await anext(subscription) == event(13)
    assert subscription.position == event(13).position == Position("e1", 13)
    assert await anext(subscription) == event(14)


async def test_what_was_missed_comes_before_what_is_live(client: Client, peer: Peer) -> None:
    subscribed = Subscribed(client, Position("e1", 10))
    assert await accept(peer, 12, recovered=True, events=[wire_event(11), wire_event(12)]) == {
        "topic": "room:lobby",
        "since": {"epoch": "e1", "offset": 10},
    }
    await send_event(peer, 13)
    subscription = await subscribed()
    assert subscription.recovered is True
    assert subscription.position == Position("e1", 10)  # nothing has been handed out yet
    assert [await anext(subscription) for _ in range(3)] == [event(11), event(12), event(13)]
    assert subscription.position == Position("e1", 13)


@pytest.mark.parametrize(
    "answer",
    [
        {"recovered": False},
        {"recovered": True, "events": [wire_event(12)]},
        {"recovered": True, "events": [wire_event(11)]},
        {"offset": 9, "recovered": True, "events": []},
    ],
)
async def test_what_cannot_be_recovered_is_a_gap(
    client: Client, peer: Peer, answer: dict[str, Any]
) -> None:
    subscribed = Subscribed(client, Position("e1", 10))
    offset = answer.pop("offset", 12)
    await accept(peer, offset, **answer)
    subscription = await subscribed()
    assert subscription.recovered is False
    assert subscription.position == Position("e1", 10)
    await send_event(peer, offset + 1)
    assert await anext(subscription) == Gap("e1", offset)
    assert subscription.position == Gap("e1", offset).position == Position("e1", offset)
    assert await anext(subscription) == event(offset + 1)


async def test_a_gap_does_not_end_the_events(client: Client, peer: Peer) -> None:
    subscribed = Subscribed(client)
    await accept(peer, 12)
    await send_event(peer, 13)
    error = {"code": "unrecoverable", "message": "Lost.", "topic": "room:lobby"}
    await peer.send("error", id=None, error={**error, "epoch": "e2", "offset": 20})
    await send_event(peer, 21)
    subscription = await subscribed()
    assert [await anext(subscription) for _ in range(3)] == [
        event(13),
        Gap("e2", 20),
        event(21, "e2"),
    ]
    assert subscription.position == Position("e2", 21)


async def test_presence_comes_among_the_events(client: Client, peer: Peer) -> None:
    subscribed = Subscribed(client)
    await accept(peer, 12)
    bob = {"user": "bob", "info": {}}
    await peer.send("presence", topic="room:lobby", joined=bob)
    await send_event(peer, 13)
    await peer.send("presence", topic="room:lobby", left=bob)
    await peer.send("presence", topic="room:lobby", members=[bob], count=1)
    subscription = await subscribed()
    assert [await anext(subscription) for _ in range(4)] == [
        Presence(joined=bob),
        event(13),
        Presence(left=bob),
        Presence(members=[bob], count=1),
    ]


async def test_an_event_that_came_before_is_not_given_again(client: Client, peer: Peer) -> None:
    subscribed = Subscribed(client)
    await accept(peer, 12)
    for offset in (12, 13, 13, 14):
        await send_event(peer, offset)
    subscription = await subscribed()
    assert [await anext(subscription) for _ in range(2)] == [event(13), event(14)]


async def test_a_missing_event_is_asked_for(client: Client, peer: Peer) -> None:
    subscribed = Subscribed(client)
    await accept(peer, 12)
    await send_event(peer, 14)
    subscription = await subscribed()
    step = asyncio.create_task(anext(subscription))
    await send_event(peer, 15)  # not behind the answer, so in it
    missed = [wire_event(13), wire_event(14), wire_event(15)]
    asked = await accept(peer, 15, recovered=True, events=missed)
    assert asked["since"] == {"epoch": "e1", "offset": 12}
    await send_event(peer, 16)
    assert await step == event(13)
    assert [await anext(subscription) for _ in range(3)] == [event(14), event(15), event(16)]


async def test_what_is_of_no_subscription_comes_among_the_events(
    client: Client, peer: Peer
) -> None:
    subscribed = Subscribed(client)
    await send_event(peer, 12)
    await accept(peer, 12)
    await send_event(peer, 13)
    await send_event(peer, 1, "room:other")
    await peer.send("error", id=None, error={"code": "invalid_json", "message": "Not JSON."})
    async with aclosing(client.events()) as events:
        assert (await anext(events))["offset"] == 12
        assert (await anext(events))["topic"] == "room:other"
        assert (await anext(events))["error"]["code"] == "invalid_json"
    assert await anext(await subscribed()) == event(13)


# Beginning and leaving


async def test_leaving_unsubscribes_and_what_is_under_way_is_dropped(
    client: Client, peer: Peer
) -> None:
    subscribed = Subscribed(client)
    await accept(peer)
    subscription = await subscribed()
    await subscription.__aexit__(None, None, None)
    leaving = await peer.receive()
    assert leaving["type"] == "topic.unsubscribe"
    assert leaving["payload"] == {"topic": "room:lobby"}
    await send_event(peer, 13)
    await peer.send("reply", id=leaving["id"], payload={})
    await send_event(peer, 14)
    async with aclosing(client.events()) as events:
        assert (await anext(events))["offset"] == 14
    with pytest.raises(StopAsyncIteration):
        await anext(subscription)


async def test_a_topic_can_be_left_and_subscribed_to_again_at_once(
    client: Client, room: Room
) -> None:
    for n in range(1, 6):
        async with client.subscribe("room:lobby") as subscription:
            await room.publish({"n": n})
            assert await anext(subscription) == event(n)
    await client.request("session.ping")
    assert not room.members


async def test_a_topic_that_the_server_gave_is_not_left(server: Server) -> None:
    welcome = {"topics": {"user:alice": {"epoch": "e1", "offset": 3}}}
    server.first = {"type": "welcome", "payload": {"connection": "c1", **welcome}}
    async with connect(server.url) as client:
        peer = await server.peers.get()
        since = Position(**client.welcome["topics"]["user:alice"])
        subscription = client.subscribe("user:alice", since=since)
        entering = asyncio.create_task(subscription.__aenter__())
        await accept(peer, 3, recovered=True, events=[])
        await entering
        await send_event(peer, 4, "user:alice")
        assert await anext(subscription) == event(4)
        await subscription.__aexit__(None, None, None)
        await send_event(peer, 5, "user:alice")
        await settle(client, peer)  # and nothing was sent before
        assert (await anext(client.events()))["offset"] == 5


async def test_a_refused_subscription_leaves_nothing_behind(client: Client, peer: Peer) -> None:
    subscribed = Subscribed(client)
    request = await peer.receive()
    error = {"code": "not_found", "message": "There is no such topic."}
    await peer.send("error", id=request["id"], error=error)
    with pytest.raises(RequestError, match="not_found"):
        await subscribed()
    await settle(client, peer)  # and nothing was sent before
    subscribed = Subscribed(client)
    await accept(peer)
    assert (await subscribed()).position == Position("e1", 12)


async def test_a_subscription_that_is_not_answered_in_time_is_taken_back(
    client: Client, peer: Peer
) -> None:
    with pytest.raises(TimeoutError):
        await client.subscribe("room:lobby", timeout=0.05).__aenter__()
    request = await peer.receive()
    assert await peer.receive() == {"type": "request.cancel", "payload": {"id": request["id"]}}
    assert (await peer.receive())["type"] == "topic.unsubscribe"


async def test_a_topic_has_one_reader_at_a_time(client: Client, peer: Peer) -> None:
    subscribed = Subscribed(client)
    with pytest.raises(ValueError, match="'room:lobby' already"):
        await Subscribed(client)()
    await accept(peer)
    await subscribed()
    with pytest.raises(ValueError, match="'room:lobby' already"):
        await Subscribed(client)()
    await settle(client, peer)  # and nothing was sent before


async def test_leaving_ends_an_iteration_elsewhere(client: Client, room: Room) -> None:
    async with client.subscribe("room:lobby") as subscription, asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read_all(subscription))
        await room.publish({"n": 1})
        await client.request("session.ping")
        await subscription.__aexit__(None, None, None)
    assert reading.result() == ([event(1)], None)


async def test_a_lost_connection_ends_the_events_behind_the_last(
    client: Client, peer: Peer
) -> None:
    subscribed = Subscribed(client)
    await accept(peer)
    await send_event(peer, 13)
    subscription = await subscribed()
    await settle(client, peer)
    peer.cut()
    await client.wait_closed()
    assert await anext(subscription) == event(13)
    with pytest.raises(ConnectionClosed):
        await anext(subscription)
    await subscription.__aexit__(None, None, None)


async def test_the_events_end_when_the_client_closes(client: Client, room: Room) -> None:
    async with client.subscribe("room:lobby") as subscription:
        await room.publish({"n": 1})
        await client.request("session.ping")
        await client.close()
        assert [item async for item in subscription] == [event(1)]


# Without subscribing


async def test_a_publication_returns_where_it_stands(client: Client, peer: Peer) -> None:
    publishing = asyncio.create_task(client.publish("room:lobby", {"text": "hi"}, key="k7"))
    request = await peer.receive()
    assert request["type"] == "topic.publish"
    assert request["payload"] == {"topic": "room:lobby", "payload": {"text": "hi"}, "key": "k7"}
    await peer.send("reply", id=request["id"], payload={"epoch": "e1", "offset": 13})
    assert await publishing == Position("e1", 13)


async def test_a_history_is_its_events_and_where_the_topic_stands(
    client: Client, peer: Peer
) -> None:
    reading = asyncio.create_task(client.history("room:lobby", after=0, limit=2))
    request = await peer.receive()
    assert request["type"] == "topic.history"
    assert request["payload"] == {"topic": "room:lobby", "after": 0, "limit": 2}
    payload = {"epoch": "e1", "offset": 13, "events": [wire_event(1), wire_event(2)]}
    await peer.send("reply", id=request["id"], payload=payload)
    assert await reading == (Position("e1", 13), [event(1), event(2)])


async def test_presence_is_who_is_there(client: Client, room: Room) -> None:
    assert await client.presence("room:lobby") == Presence(
        members=[{"user": "alice", "connections": 1, "info": {}}], count=1
    )
