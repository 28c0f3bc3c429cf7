"""A topic is followed over as many connections as it takes, and nothing comes twice."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web

from jackfield.client import (
    ConnectionClosed,
    ConnectionFailed,
    Event,
    Gap,
    Position,
    RequestError,
    follow,
)
from tests.support.peer import Peer, Room, Server
from tests.support.waiting import wait_until

#: Seconds to wait at the most before each connection: no test is about them.
HASTY: dict[str, Any] = {"backoff": 0.01, "max_backoff": 0.01}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What each wait was drawn from; none is waited."""
    bounds: list[float] = []

    def draw(_low: float, high: float) -> float:
        bounds.append(high)
        return 0.0

    monkeypatch.setattr("jackfield.client.backoff.random.uniform", draw)
    return bounds


async def joined(room: Room) -> Peer:
    """Wait until the one follower is subscribed."""
    await wait_until(lambda: room.members)
    (peer,) = room.members
    return peer


def lose(room: Room, peer: Peer) -> None:
    room.members.discard(peer)
    peer.cut()


async def test_a_topic_is_followed_over_many_lost_lines(server: Server, room: Room) -> None:
    async def publish() -> None:
        for n in range(1, 201):
            await room.publish({"n": n})
            if n % 20 == 10:
                lose(room, await joined(room))  # the next ten come while nobody is there

    read: list[Event | Gap] = []
    async with (
        aclosing(follow(server.url, "room:lobby", since=Position("e1", 0), **HASTY)) as items,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(publish())
        async for item in items:
            read.append(item)
            if item.offset == 200:
                break
    assert read == [Event(n, {"n": n}, "e1") for n in range(1, 201)]
    assert len(server.accepted) == 11


async def test_nothing_is_missed_that_came_before_the_first_event(
    server: Server, room: Room
) -> None:
    await room.publish({"n": 1})
    async with aclosing(follow(server.url, "room:lobby", **HASTY)) as items:
        step = asyncio.create_task(anext(items))
        lose(room, await joined(room))
        await room.publish({"n": 2})
        assert await step == Event(2, {"n": 2}, "e1")


async def test_what_the_server_does_not_keep_is_a_gap(server: Server, room: Room) -> None:
    async with aclosing(follow(server.url, "room:lobby", **HASTY)) as items:
        step = asyncio.create_task(anext(items))
        peer = await joined(room)
        await room.publish({"n": 1})
        assert await step == Event(1, {"n": 1}, "e1")
        lose(room, peer)
        room.epoch = "e2"
        await room.publish({"n": 2})
        assert await anext(items) == Gap("e2", 2)
        await room.publish({"n": 3})
        assert await anext(items) == Event(3, {"n": 3}, "e2")


async def test_presence_is_passed_over(server: Server, room: Room) -> None:
    async with aclosing(follow(server.url, "room:lobby", **HASTY)) as items:
        step = asyncio.create_task(anext(items))
        await joined(room)
        await room.tell("presence", topic="room:lobby", joined={"user": "bob"})
        await room.publish({"n": 1})
        assert await step == Event(1, {"n": 1}, "e1")


async def test_who_follows_says_who_it_is_each_time(server: Server, room: Room) -> None:
    options = {"token": "t0k3n", "headers": {"X-Trace": "7"}, **HASTY}
    async with aclosing(follow(server.url, "room:lobby", **options)) as items:
        step = asyncio.create_task(anext(items))
        lose(room, await joined(room))
        await joined(room)
        await room.publish({"n": 1})
        await step
    for peer in server.accepted:
        assert peer.headers["Authorization"] == "Bearer t0k3n"
        assert peer.headers["X-Trace"] == "7"


async def test_to_stop_following_closes_the_connection(server: Server, room: Room) -> None:
    async with aclosing(follow(server.url, "room:lobby")) as items:
        step = asyncio.create_task(anext(items))
        peer = await joined(room)
        await room.publish({"n": 1})
        await step
    await wait_until(lambda: peer.socket.close_code == 1000)
    assert not room.members


# When to come again


async def test_each_failure_doubles_the_wait(
    server: Server, room: Room, waits: list[float]
) -> None:
    refusals = iter(range(8))

    def refuse() -> web.Response:
        if next(refusals, None) is None:
            server.refuse = None
        return web.json_response({"message": "Away."}, status=503)

    server.refuse = refuse
    async with aclosing(follow(server.url, "room:lobby")) as items:
        step = asyncio.create_task(anext(items))
        await joined(room)
        await room.publish({"n": 1})
        await step
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


async def test_a_connection_that_held_starts_the_waits_anew(
    server: Server, room: Room, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("jackfield.client.backoff.monotonic", lambda: now)
    async with aclosing(follow(server.url, "room:lobby")) as items:
        for held in (4.9, 4.9, 4.9, 5.0, 0.0):
            step = asyncio.create_task(anext(items))
            peer = await joined(room)
            await room.publish({})
            await step
            now += held
            lose(room, peer)
        step = asyncio.create_task(anext(items))
        await joined(room)
        await room.publish({})
        await step
    assert waits == [0.1, 0.2, 0.4, 0.1, 0.2]


@pytest.mark.parametrize("reason", ["goodbye", "refused", "unavailable"])
async def test_the_server_says_how_long_to_stay_away(
    server: Server,
    room: Room,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    reason: str,
) -> None:
    def refuse() -> web.Response:
        server.refuse = None
        return web.json_response({"message": "Full.", "retry_after": 0.1}, status=503)

    if reason == "refused":
        server.refuse = refuse
    if reason == "unavailable":
        room.refusal = {"code": "unavailable", "message": "Away.", "retryable": True}
        room.refusal["retry_after"] = 0.1
    async with aclosing(follow(server.url, "room:lobby")) as items:
        step = asyncio.create_task(anext(items))
        if reason == "goodbye":
            peer = await joined(room)
            goodbye = {"code": 4001, "reason": "shutdown", "reconnect": True, "after": 0.1}
            await peer.send("goodbye", payload=goodbye)
            lose(room, peer)
        await wait_until(lambda: waits)
        room.refusal = None
        await joined(room)
        await room.publish({"n": 1})
        await step
    assert "Following room:lobby again in 0.1 s." in caplog.text


async def test_a_server_that_does_not_answer_is_left(server: Server, room: Room) -> None:
    async def fall_silent(peer: Peer, message: dict[str, Any]) -> None:
        server.answer = room.answer

    server.answer = fall_silent
    async with aclosing(follow(server.url, "room:lobby", timeout=0.2, **HASTY)) as items:
        step = asyncio.create_task(anext(items))
        await joined(room)
        await room.publish({"n": 1})
        assert await step == Event(1, {"n": 1}, "e1")


# When not to


async def read_to_the_end(items: AsyncGenerator[Event | Gap, None]) -> None:
    async with aclosing(items):
        async for _ in items:
            pass


async def test_a_server_that_does_not_want_it_again_is_obeyed(server: Server, room: Room) -> None:
    following = asyncio.create_task(read_to_the_end(follow(server.url, "room:lobby", **HASTY)))
    peer = await joined(room)
    goodbye = {"code": 4502, "reason": "revoked", "reconnect": False}
    await peer.send("goodbye", payload=goodbye)
    lose(room, peer)
    with pytest.raises(ConnectionClosed, match="revoked"):
        await following
    assert len(server.accepted) == 1


async def test_a_refused_subscription_is_not_tried_again(server: Server, room: Room) -> None:
    room.refusal = {"code": "not_found", "message": "There is no such topic."}
    with pytest.raises(RequestError, match="not_found"):
        await read_to_the_end(follow(server.url, "room:lobby", **HASTY))
    assert len(room.subscriptions) == 1


async def test_a_refused_client_is_not_tried_again(server: Server) -> None:
    server.refuse = lambda: web.Response(status=403)
    with pytest.raises(ConnectionFailed, match="HTTP 403"):
        await read_to_the_end(follow(server.url, "room:lobby", **HASTY))


@pytest.mark.parametrize(
    "first", [{"type": "event"}, {"type": "error", "error": {"message": "No"}}]
)
async def test_what_is_no_server_is_not_tried_again(server: Server, first: dict[str, Any]) -> None:
    server.first = first
    with pytest.raises(ConnectionFailed):
        await read_to_the_end(follow(server.url, "room:lobby", **HASTY))


async def test_a_wrong_address_is_not_tried_again() -> None:
    with pytest.raises(ConnectionFailed, match="is not an address"):
        await read_to_the_end(follow("localhost:8080/ws", "room:lobby", **HASTY))
