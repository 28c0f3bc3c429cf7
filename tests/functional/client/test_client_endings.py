"""How things end in the Python client: every wait is settled, by an error of its one base class."""

import asyncio
import math
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import pytest

from jackfield import Context, Error, Plugin
from jackfield.client import (
    AlreadySubscribed,
    Client,
    ConnectionClosed,
    ConnectionFailed,
    Event,
    Gap,
    JackfieldError,
    NotSent,
    Position,
    RequestError,
    TimedOut,
    connect,
    follow,
)
from jackfield.testing import run_server
from tests.support.peer import WELCOME, Peer, Room, Server
from tests.support.waiting import wait_until

Config = Mapping[str, Any]

#: Seconds: only a test that fails ever waits this long.
PATIENCE = 10.0
HASTY: dict[str, Any] = {"backoff": 0.01, "max_backoff": 0.01}


# Errors of any form.


@pytest.mark.parametrize(
    ("error", "code", "message", "shown"),
    [
        ({"code": "x.y", "message": {"room": ["No."]}}, "x.y", '{"room":["No."]}', "x.y: "),
        ({"code": "x.y", "message": None}, "x.y", "null", "x.y: null"),
        ({"code": 7}, "7", "The server told no reason.", "7: "),
        ({}, "internal", "The server told no reason.", "internal: "),
        ("no", "internal", "The server told no reason.", "internal: "),
        ({"code": "x.y", "message": "No.", "fields": {"room": ["No."]}}, "x.y", "No.", "x.y: No."),
        ({"code": "x.y", "message": "No.", "fields": [7]}, "x.y", "No.", "x.y: No."),
        (
            {"code": "x.y", "message": "No.", "fields": [{"pointer": "/a", "message": ["No."]}]},
            "x.y",
            "No.",
            'x.y: No.\n  /a: ["No."] ()',
        ),
        ({"code": "x.y", "message": "No.", "incident": 5, "retryable": "yes"}, "x.y", "No.", "x.y"),
    ],
)
async def test_an_error_of_any_form_ends_its_request(
    client: Client, peer: Peer, error: Any, code: str, message: str, *, shown: str
) -> None:
    asking = asyncio.create_task(client.request("a.b"))
    await peer.send("error", id=(await peer.receive())["id"], error=error)
    with pytest.raises(RequestError) as raised:
        await asyncio.wait_for(asking, PATIENCE)
    assert (raised.value.code, raised.value.message) == (code, message)
    assert str(raised.value).startswith(shown)
    assert raised.value.retryable is False


async def test_times_to_wait_that_are_none_are_not_waited(server: Server, room: Room) -> None:
    room.refusal = {"code": "unavailable", "message": "No.", "retryable": True, "retry_after": "x"}
    async with aclosing(follow(server.url, "room:lobby", **HASTY)) as items:
        step = asyncio.create_task(anext(items))
        await wait_until(lambda: len(room.subscriptions) > 1)
        room.refusal = None
        await wait_until(lambda: room.members)
        await room.publish({"n": 1})
        assert await asyncio.wait_for(step, PATIENCE) == Event(1, {"n": 1}, "e1")


async def test_a_plugin_that_gives_no_text_for_a_message_is_told_so(config: Config) -> None:
    plugin = Plugin("careless")

    @plugin.handler("careless.do")
    async def do(ctx: Context, data: dict[str, Any]) -> None:
        raise Error("careless.wrong", {"room": ["Missing."]})  # type: ignore[arg-type]

    async with run_server(plugin, config=config) as server, connect(server.url) as client:
        with pytest.raises(RequestError) as raised:
            await asyncio.wait_for(client.request("careless.do"), PATIENCE)
        assert raised.value.code == "internal"
        assert raised.value.incident


# What is not sent.


async def test_a_message_that_is_too_large_is_refused_and_the_others_go_on(config: Config) -> None:
    plugin = Plugin("slow")
    release = asyncio.Event()

    @plugin.handler("slow.answer", concurrent=True)
    async def answer(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        await release.wait()
        return {"done": True}

    async with run_server(plugin, config=config) as server, connect(server.url) as client:
        assert client.welcome["limits"]["message_bytes"] == 65_536
        waiting = asyncio.create_task(client.request("slow.answer"))
        large = {"text": "x" * 65_536}
        for attempt in (
            client.request("session.ping", large),
            client.send("session.ping", large),
            anext(client.answers("session.ping", large)),
        ):
            with pytest.raises(NotSent, match="too_large") as refused:
                await attempt
            assert refused.value.extra["limit"] == 65_536
        release.set()
        assert await waiting == {"done": True}
        envelope = len('{"type":"session.ping","payload":{"text":""},"id":9}')
        most = {"text": "x" * (65_536 - envelope)}
        assert await client.request("session.ping", most) == most


@pytest.mark.parametrize(
    "value", ["\ud83d", math.nan, 10**5000, object()], ids=["half", "nan", "digits", "object"]
)
async def test_what_json_has_no_room_for_is_refused_and_nothing_is_sent(
    client: Client, peer: Peer, value: Any
) -> None:
    for attempt in (
        client.request("a.b", {"v": value}),
        client.send("a.b", {"v": value}),
        client.publish("a:b", {"v": value}),
        anext(client.stream("a.b", {"v": value})),
    ):
        with pytest.raises(JackfieldError) as refused:
            await attempt
        assert isinstance(refused.value, NotSent)
    await client.send("next")
    assert (await peer.receive())["type"] == "next"


# After the end.


async def test_whatever_is_asked_of_a_client_that_has_ended_fails_at_once(server: Server) -> None:
    async with connect(server.url) as client:
        await server.peers.get()
    for attempt in (
        client.request("a.b"),
        client.send("a.b"),
        client.publish("a:b", {}),
        client.history("a:b"),
        client.presence("a:b"),
        anext(client.stream("a.b")),
        client.subscribe("a:b").__aenter__(),
    ):
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(attempt, PATIENCE)
    assert [each async for each in client.events()] == []
    assert (await client.wait_closed()).reconnect is False


async def test_a_topic_that_is_subscribed_to_twice_is_one_of_the_clients_errors(
    server: Server, room: Room
) -> None:
    async with connect(server.url) as client, client.subscribe("room:lobby"):
        with pytest.raises(AlreadySubscribed) as twice:
            await client.subscribe("room:lobby").__aenter__()
        assert isinstance(twice.value, JackfieldError | ValueError)


async def test_a_client_has_a_timeout_for_all_that_has_none_of_its_own(server: Server) -> None:
    async with connect(server.url, request_timeout=0.05) as client:
        peer = await server.peers.get()
        for attempt in (
            client.request("a.b"),
            client.history("a:b"),
            client.presence("a:b"),
            client.publish("a:b", {}),
            anext(client.stream("a.b")),
            client.subscribe("a:b").__aenter__(),
        ):
            with pytest.raises(TimedOut):
                await attempt
        patient = asyncio.create_task(client.request("patient.one", timeout=math.inf))
        while (request := await peer.receive())["type"] != "patient.one":
            pass
        with pytest.raises(TimedOut):  # as long as that takes
            await client.request("a.b")
        await peer.send("reply", id=request["id"], payload={})
        assert await patient == {}


# The topics that give their whole history.


@pytest.mark.parametrize("recovered", [True, False])
async def test_a_topic_that_gives_its_history_at_once_is_read_from_its_beginning(
    client: Client, peer: Peer, *, recovered: bool
) -> None:
    subscribing = asyncio.create_task(client.subscribe("task:a.1").__aenter__())
    request = await peer.receive()
    events = [{"type": "event", "offset": n, "payload": {"n": n}} for n in (1, 2)]
    told = {"recovered": True, "events": events} if recovered else {"recovered": False}
    payload = {"epoch": "e", "offset": 2, **told}
    await peer.send("reply", id=request["id"], payload=payload)
    task = await subscribing
    assert task.recovered is recovered
    await peer.send("event", topic="task:a.1", offset=3, payload={"n": 3})
    live = Event(3, {"n": 3}, "e")
    if recovered:
        assert task.position == Position("e", 0)
        read = [await anext(task) for _ in range(3)]
        assert read == [Event(1, {"n": 1}, "e"), Event(2, {"n": 2}, "e"), live]
    else:
        assert [await anext(task) for _ in range(2)] == [Gap("e", 2), live]
    assert live.id == "e:3"


# Coming back.


async def test_a_refusal_for_now_says_when_to_come_back(config: Config) -> None:
    plugin = Plugin("busy")
    refused: list[bool] = []

    @plugin.on_connect
    async def on_connect(ctx: Context) -> None:
        if len(refused) < 2:
            refused.append(True)
            raise Error("busy.full", "Full.", retryable=len(refused) == 1, retry_after=0.2)

    async with run_server(plugin, config=config) as server:
        with pytest.raises(ConnectionFailed, match="Full") as failed:
            await connect(server.url).__aenter__()
        assert (failed.value.reconnect, failed.value.retry_after) == (True, 0.2)
        with pytest.raises(ConnectionFailed, match="Full") as failed:
            await connect(server.url).__aenter__()
        assert not failed.value.reconnect


async def test_who_follows_comes_back_after_a_refusal_for_now(config: Config) -> None:
    plugin = Plugin("busy")
    plugin.topic("busy:{name}")
    tried: list[bool] = []

    @plugin.on_connect
    async def on_connect(ctx: Context) -> None:
        tried.append(True)
        if len(tried) < 3:
            raise Error("busy.full", "Full.", retryable=True, retry_after=0.1)

    async with (
        run_server(plugin, config=config) as server,
        aclosing(follow(server.url, "busy:a", **HASTY)) as items,
    ):
        step = asyncio.create_task(anext(items))
        await wait_until(lambda: server.node.topics.members > 1)
        await server.node.topics.publish("busy:a", {"n": 1})
        item = await step
        assert isinstance(item, Event)
        assert item.payload == {"n": 1}
        assert len(tried) == 3


async def test_who_follows_with_a_text_that_has_expired_is_told_so(
    server: Server, room: Room
) -> None:
    goodbye = {"code": 4002, "reason": "token expired", "reconnect": True, "after": 0.0}
    server.first = {"type": "goodbye", "payload": goodbye}
    items = follow(server.url, "room:lobby", token="old", **HASTY)
    with pytest.raises(ConnectionClosed, match="token expired"):
        await asyncio.wait_for(anext(items), PATIENCE)
    tokens = iter(["old", "new"])

    def next_token() -> str:
        token = next(tokens)
        if token == "new":
            server.first = WELCOME
        return token

    async with aclosing(follow(server.url, "room:lobby", token=next_token, **HASTY)) as items:
        step = asyncio.create_task(anext(items))
        await wait_until(lambda: room.members)
        await room.publish({"n": 1})
        assert await step == Event(1, {"n": 1}, "e1")
    assert server.accepted[-1].headers["Authorization"] == "Bearer new"


async def test_who_follows_ends_when_somebody_has_signed_out(server: Server) -> None:
    items = follow(server.url, "room:lobby", token=lambda: None, **HASTY)
    with pytest.raises(ConnectionFailed, match="signed out"):
        await asyncio.wait_for(anext(items), PATIENCE)
    assert server.accepted == []


async def test_who_was_closed_as_idle_and_wants_something_comes_back(
    server: Server, room: Room
) -> None:
    async with aclosing(follow(server.url, "room:lobby", **HASTY)) as items:
        step = asyncio.create_task(anext(items))
        await wait_until(lambda: room.members)
        (first,) = room.members
        room.members.clear()
        await first.socket.close(code=1000, message=b"idle")
        await wait_until(lambda: room.members)
        await room.publish({"n": 1})
        assert await step == Event(1, {"n": 1}, "e1")
