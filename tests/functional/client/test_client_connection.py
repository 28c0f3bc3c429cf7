"""What `jackfield.client` promises, against a server whose every word the test speaks itself."""

import asyncio
import socket as sockets
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web

from jackfield.client import (
    Client,
    ConnectionClosed,
    ConnectionFailed,
    EventsLost,
    RequestError,
    StreamBroken,
    connect,
)
from jackfield.client import socket as client_socket
from tests.support.peer import Peer, Server
from tests.support.reading import read_all
from tests.support.waiting import promptly


async def is_alive(client: Client, peer: Peer) -> bool:
    """Whether a request passes and is answered, and nothing was sent before it."""
    asking = asyncio.create_task(client.request("session.ping"))
    request = await peer.receive()
    assert request["type"] == "session.ping"
    await peer.send("reply", id=request["id"], payload={"pong": 1})
    return await asking == {"pong": 1}


# Connecting


async def test_a_client_says_who_it_is_and_is_welcomed(server: Server) -> None:
    async with connect(server.url, token="t0k3n", headers={"X-Trace": "7"}) as client:
        peer = await server.peers.get()
        assert client.connection == "c1"
        assert client.welcome["user"] == "alice"
        assert peer.headers["Authorization"] == "Bearer t0k3n"
        assert peer.headers["X-Trace"] == "7"
        assert peer.socket.ws_protocol == "jackfield.v1"


async def test_a_refusal_speaks_the_words_of_the_server(server: Server) -> None:
    server.refuse = lambda: web.json_response(
        {"code": "forbidden", "message": "This origin may not connect.", "retryable": False},
        status=403,
        content_type="application/problem+json",
    )
    with pytest.raises(ConnectionFailed, match=r"may not connect\. \(HTTP 403\)") as no:
        await connect(server.url).__aenter__()
    assert (no.value.status, no.value.retry_after) == (403, None)


@pytest.mark.parametrize(
    ("headers", "problem", "seconds"),
    [
        ({"Retry-After": "3"}, {"retry_after": 2.5}, 3),
        ({}, {"retry_after": 2.5}, 2.5),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, {}, None),
    ],
)
async def test_a_full_server_says_when_to_come_again(
    server: Server, headers: dict[str, str], problem: dict[str, Any], seconds: float | None
) -> None:
    server.refuse = lambda: web.json_response(
        {"message": "Full.", **problem}, status=503, headers=headers
    )
    with pytest.raises(ConnectionFailed) as failed:
        await connect(server.url).__aenter__()
    assert failed.value.retry_after == seconds


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"message": 1}', b"\xff"])
async def test_a_refusal_by_something_else_has_words_too(server: Server, body: bytes) -> None:
    server.refuse = lambda: web.Response(status=502, body=body)
    with pytest.raises(ConnectionFailed, match="The server refused: Bad Gateway") as failed:
        await connect(server.url).__aenter__()
    assert failed.value.status == 502


async def test_a_server_that_is_not_there_is_told_in_words() -> None:
    with sockets.socket() as bound:  # but it does not listen
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{port} cannot be reached: Conn"):
            await connect(f"ws://127.0.0.1:{port}/ws").__aenter__()


async def test_a_wrong_address_is_told_without_its_ticket() -> None:
    with pytest.raises(ConnectionFailed, match="is not an address") as failed:
        await connect("localhost:8080/ws?ticket=s3cr3t").__aenter__()
    assert "s3cr3t" not in str(failed.value)


async def test_a_page_is_not_a_websocket(server: Server) -> None:
    server.refuse = lambda: web.Response(text="hello")
    with pytest.raises(ConnectionFailed, match="no WebSocket at this address"):
        await connect(server.url).__aenter__()


async def test_a_server_that_does_not_welcome_is_left(server: Server) -> None:
    server.first = None
    with pytest.raises(ConnectionFailed, match=r"did not welcome this client within 0\.1 s"):
        await connect(server.url, timeout=0.1).__aenter__()


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ({"type": "event", "payload": {}}, "does not speak jackfield.v1"),
        ({"type": "error", "id": None, "error": {"message": "Say who."}}, "Say who."),
    ],
)
async def test_another_first_word_is_no_welcome(
    server: Server, first: dict[str, Any], words: str
) -> None:
    server.first = first
    with pytest.raises(ConnectionFailed, match=words):
        await connect(server.url).__aenter__()


async def test_to_be_closed_instead_of_welcomed_keeps_the_reason(server: Server) -> None:
    server.first = None
    server.on_welcome = lambda peer: peer.socket.close(code=4504, message=b"connection limit")
    with pytest.raises(ConnectionClosed, match="connection limit") as closed:
        await connect(server.url).__aenter__()
    assert (closed.value.code, closed.value.reconnect) == (4504, False)


async def test_a_goodbye_instead_of_a_welcome_says_when_to_come_again(server: Server) -> None:
    goodbye = {"code": 4001, "reason": "shutdown", "reconnect": True, "after": 1.5}
    server.first = {"type": "goodbye", "payload": goodbye}
    with pytest.raises(ConnectionClosed, match="shutdown") as closed:
        await connect(server.url).__aenter__()
    assert (closed.value.code, closed.value.reconnect, closed.value.after) == (4001, True, 1.5)


# Requests


async def test_every_reply_finds_its_request(client: Client, peer: Peer) -> None:
    first = asyncio.create_task(client.request("chat.send", {"text": "hi"}))
    second = asyncio.create_task(client.request("chat.list"))
    assert await peer.receive() == {"type": "chat.send", "id": 1, "payload": {"text": "hi"}}
    assert await peer.receive() == {"type": "chat.list", "id": 2, "payload": {}}
    await peer.send("reply", id=2, payload={"rooms": []})
    await peer.send("reply", id=1, payload={"offset": 12})
    assert await first == {"offset": 12}
    assert await second == {"rooms": []}


async def test_an_error_says_what_is_wrong_where(client: Client, peer: Peer) -> None:
    asking = asyncio.create_task(client.request("chat.send"))
    await peer.receive()
    field = {
        "pointer": "/text",
        "code": "required",
        "message": "Missing data for required field.",
    }
    error = {
        "code": "invalid_payload",
        "message": "The payload of chat.send is not valid.",
        "retryable": False,
        "fields": [field],
        "hint": "see the schema",
    }
    await peer.send("error", id=1, error=error)
    with pytest.raises(RequestError) as raised:
        await asking
    assert raised.value.code == "invalid_payload"
    assert raised.value.fields == [field]
    assert raised.value.extra == {"hint": "see the schema"}
    assert str(raised.value) == (
        "invalid_payload: The payload of chat.send is not valid.\n"
        "  /text: Missing data for required field. (required)"
    )


async def test_a_fault_of_the_server_names_its_incident() -> None:
    error = RequestError({"code": "internal", "message": "It failed.", "incident": "4f1c"})
    assert str(error) == "internal: It failed. (incident 4f1c)"
    assert error.incident == "4f1c"
    assert not error.retryable


async def test_a_late_answer_is_cancelled_and_dropped(client: Client, peer: Peer) -> None:
    with pytest.raises(TimeoutError):
        await client.request("slow.one", timeout=0.05)
    assert (await peer.receive())["type"] == "slow.one"
    assert await peer.receive() == {"type": "request.cancel", "payload": {"id": 1}}
    await peer.send("chunk", id=1, seq=0, payload={})
    await peer.send("error", id=1, error={"code": "cancelled", "message": "Cancelled."})
    await peer.send("reply", id=1, payload={})
    assert await is_alive(client, peer)


async def test_to_cancel_a_request_tells_the_server_once(client: Client, peer: Peer) -> None:
    asking = asyncio.create_task(client.request("slow.one"))
    await peer.receive()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await peer.receive() == {"type": "request.cancel", "payload": {"id": 1}}
    assert await is_alive(client, peer)


async def test_a_request_skips_the_chunks_before_its_reply(client: Client, peer: Peer) -> None:
    asking = asyncio.create_task(client.request("agent.call"))
    await peer.receive()
    await peer.send("chunk", id=1, seq=0, payload={"text": "thinking"})
    await peer.send("reply", id=1, payload={"state": "completed"})
    assert await asking == {"state": "completed"}


async def test_what_cannot_be_written_is_not_sent(client: Client, peer: Peer) -> None:
    with pytest.raises(TypeError):
        await client.request("chat.send", {"text": object()})
    assert await is_alive(client, peer)


async def test_a_message_without_reply_has_no_id(client: Client, peer: Peer) -> None:
    await client.send("chat.typing", {"room": "lobby"})
    assert await peer.receive() == {"type": "chat.typing", "payload": {"room": "lobby"}}


async def test_a_timeout_while_the_buffers_are_full_disturbs_nobody_else(
    client: Client, peer: Peer
) -> None:
    peer.reads.clear()
    full = {"text": "x" * 2**23}  # more than both ends of a local socket hold
    first = [asyncio.create_task(client.request("fill", full)) for _ in range(3)]
    hasty = asyncio.create_task(client.request("fill", full, timeout=0.2))
    last = asyncio.create_task(client.request("fill", full))
    with pytest.raises(TimeoutError):
        await hasty
    peer.reads.set()
    for _ in range(6):
        request = await peer.receive()
        if "id" in request:
            await peer.send("reply", id=request["id"], payload={"id": request["id"]})
    assert [reply["id"] for reply in await asyncio.gather(*first, last)] == [1, 2, 3, 5]


# Streams


async def test_a_stream_yields_its_chunks_and_ends(client: Client, peer: Peer) -> None:
    stream = client.stream("count", {"to": 2})
    assert peer.received_nothing_more()
    step = asyncio.create_task(anext(stream))
    assert await peer.receive() == {"type": "count", "id": 1, "payload": {"to": 2}}
    await peer.send("chunk", id=1, seq=0, payload={"n": 1})
    await peer.send("chunk", id=1, seq=1, payload={"n": 2})
    await peer.send("reply", id=1, payload={})
    assert [await step, *[chunk async for chunk in stream]] == [{"n": 1}, {"n": 2}]
    assert await is_alive(client, peer)


async def test_answers_are_the_chunks_and_then_the_reply(client: Client, peer: Peer) -> None:
    answers = asyncio.create_task(read_all(client.answers("count.to", {"n": 1})))
    request = await peer.receive()
    await peer.send("chunk", id=request["id"], seq=0, payload={"n": 0})
    await peer.send("reply", id=request["id"], payload={"total": 1})
    assert await answers == (
        [
            {"type": "chunk", "id": request["id"], "seq": 0, "payload": {"n": 0}},
            {"type": "reply", "id": request["id"], "payload": {"total": 1}},
        ],
        None,
    )
    assert await is_alive(client, peer)


async def test_a_stream_that_fails_keeps_what_came_before(client: Client, peer: Peer) -> None:
    stream = client.stream("count")
    step = asyncio.create_task(anext(stream))
    await peer.receive()
    await peer.send("chunk", id=1, seq=0, payload={"n": 1})
    await peer.send("error", id=1, error={"code": "timeout", "message": "Late."})
    assert await step == {"n": 1}
    with pytest.raises(RequestError, match="timeout"):
        await anext(stream)
    assert await is_alive(client, peer)


async def test_to_leave_a_stream_early_cancels_it(client: Client, peer: Peer) -> None:
    async with aclosing(client.stream("count")) as stream:
        step = asyncio.create_task(anext(stream))
        await peer.receive()
        await peer.send("chunk", id=1, seq=0, payload={"n": 1})
        assert await step == {"n": 1}
    assert await peer.receive() == {"type": "request.cancel", "payload": {"id": 1}}
    assert await is_alive(client, peer)


async def test_a_stream_that_stands_still_times_out_and_is_cancelled(
    client: Client, peer: Peer
) -> None:
    with pytest.raises(TimeoutError):
        await anext(client.stream("count", timeout=0.05))
    await peer.receive()
    assert await peer.receive() == {"type": "request.cancel", "payload": {"id": 1}}


async def test_a_missing_chunk_breaks_the_stream(client: Client, peer: Peer) -> None:
    step = asyncio.create_task(anext(client.stream("count")))
    await peer.receive()
    await peer.send("chunk", id=1, seq=1, payload={"n": 2})
    with pytest.raises(StreamBroken, match="Chunk 1 came where 0 was due"):
        await step
    assert await peer.receive() == {"type": "request.cancel", "payload": {"id": 1}}


async def test_a_stream_read_too_slowly_breaks_and_holds_nobody_up(
    client: Client, peer: Peer
) -> None:
    stream = client.stream("count")
    step = asyncio.create_task(anext(stream))
    await peer.receive()
    for seq in range(20):
        await peer.send("chunk", id=1, seq=seq, payload={"text": "x" * 200})
    await step
    assert await is_alive(client, peer)  # behind all the chunks, with the stream unread
    chunks, end = await read_all(stream)
    assert 0 < len(chunks) < 19
    assert isinstance(end, StreamBroken)
    assert (
        str(end) == f"{19 - len(chunks)} chunks came faster than they were read, and were dropped."
    )
    assert await peer.receive() == {"type": "request.cancel", "payload": {"id": 1}}


# Events


async def test_events_come_as_they_stand_on_the_wire(client: Client, peer: Peer) -> None:
    event = {"topic": "room:lobby", "offset": 12, "payload": {"text": "hi"}}
    error = {"id": None, "error": {"code": "invalid_json", "message": "Not JSON."}}
    await peer.send("event", **event)
    await peer.send("presence", topic="room:lobby", joined={"user": "bob"})
    await peer.send("error", **error)
    async with aclosing(client.events()) as events:
        assert await anext(events) == {"type": "event", **event}
        assert (await anext(events))["joined"] == {"user": "bob"}
        assert await anext(events) == {"type": "error", **error}


async def test_lost_events_are_told_where_they_are_missing(client: Client, peer: Peer) -> None:
    for offset in range(20):
        await peer.send("event", topic="t", offset=offset, payload={"text": "x" * 200})
    assert await is_alive(client, peer)  # so all of them have come
    events, end = await read_all(client.events())
    assert isinstance(end, EventsLost)
    assert [event["offset"] for event in events] == list(range(20 - end.count))
    await peer.send("event", topic="t", offset=20, payload={})
    assert (await anext(client.events()))["offset"] == 20


async def test_a_reader_that_keeps_up_loses_nothing(client: Client, peer: Peer) -> None:
    events = client.events()
    for offset in range(0, 20, 2):
        for at in (offset, offset + 1):
            await peer.send("event", topic="t", offset=at, payload={"text": "x" * 200})
        assert await is_alive(client, peer)  # so both wait
        assert [(await anext(events))["offset"] for _ in range(2)] == [offset, offset + 1]


async def test_events_end_when_the_client_leaves(client: Client, peer: Peer) -> None:
    await peer.send("event", topic="t", offset=1, payload={})
    assert await is_alive(client, peer)
    await client.close()
    assert [event["offset"] async for event in client.events()] == [1]


async def test_events_raise_when_the_server_closes(client: Client, peer: Peer) -> None:
    await peer.socket.close(code=4003, message=b"slow consumer")
    with pytest.raises(ConnectionClosed, match="slow consumer"):
        await anext(client.events())


# The end


async def test_a_goodbye_says_when_to_come_again(client: Client, peer: Peer) -> None:
    goodbye = {"code": 4001, "reason": "shutdown", "reconnect": True, "after": 1.7}
    await peer.send("goodbye", payload=goodbye)
    peer.cut()
    closed = await client.wait_closed()
    assert client.closed is closed
    assert (closed.code, closed.reason) == (4001, "shutdown")
    assert (closed.reconnect, closed.after) == (True, 1.7)
    assert str(closed) == "The connection is closed: shutdown (4001)."


@pytest.mark.parametrize(
    ("code", "reconnect"),
    [(1000, False), (1001, True), (1009, False), (1011, True), (4006, True), (4502, False)],
)
async def test_a_close_code_says_whether_to_come_again(
    client: Client, peer: Peer, code: int, *, reconnect: bool
) -> None:
    await peer.socket.close(code=code)
    closed = await client.wait_closed()
    assert (closed.code, closed.reconnect) == (code, reconnect)


async def test_a_lost_connection_ends_all_that_waits(client: Client, peer: Peer) -> None:
    asking = asyncio.create_task(client.request("slow.one"))
    streaming = asyncio.create_task(anext(client.stream("count")))
    await peer.receive()
    await peer.receive()
    peer.cut()
    for waiting in (asking, streaming):
        with pytest.raises(ConnectionClosed) as closed:
            await waiting
        assert (closed.value.code, closed.value.reconnect) == (1006, True)
    with pytest.raises(ConnectionClosed):
        await client.request("session.ping")
    with pytest.raises(ConnectionClosed):
        await client.send("session.ping")


async def test_a_dead_connection_is_noticed_by_itself(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fall_silent(peer: Peer) -> None:
        peer.reads.clear()

    server.on_welcome = fall_silent
    monkeypatch.setattr(client_socket, "HEARTBEAT", 0.1)
    async with connect(server.url) as client:
        full = {"text": "x" * 2**23}
        sends = [client.send("fill", full) for _ in range(3)]  # the first are taken on the way
        *_, last = await asyncio.gather(*sends, return_exceptions=True)
        assert isinstance(last, ConnectionClosed)
        assert (last.code, last.reconnect) == (1006, True)


async def test_to_close_tells_the_server_and_ends_what_waits(client: Client, peer: Peer) -> None:
    asking = asyncio.create_task(client.request("slow.one"))
    await peer.receive()
    await client.close(4000)
    with pytest.raises(ConnectionClosed, match="closed by this client") as closed:
        await asking
    assert (closed.value.code, closed.value.reconnect) == (4000, False)
    assert peer.socket.close_code == 4000
    await client.close()


async def test_a_stalled_server_does_not_hold_up_the_end(
    client: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_socket, "CLOSE_TIMEOUT", 0.05)
    peer.reads.clear()
    asking = [asyncio.create_task(client.request("fill", {"x": "x" * 2**23})) for _ in range(3)]
    await peer.receive()  # the first was being read already
    # Without the limit of its own, aiohttp would wait for ten seconds.
    async with promptly():
        await client.close()
    assert all(
        isinstance(end, ConnectionClosed)
        for end in await asyncio.gather(*asking, return_exceptions=True)
    )


@pytest.mark.parametrize(
    "frame",
    [b"\x01", "{", "[]", "{}", '{"type": "reply", "id": 1}', '{"a": ' * 5000, '{"type": "\\ud8"}'],
)
async def test_a_server_of_another_tongue_is_left(
    client: Client, peer: Peer, frame: bytes | str
) -> None:
    if isinstance(frame, bytes):
        await peer.socket.send_bytes(frame)
    else:
        await peer.socket.send_str(frame)
    closed = await client.wait_closed()
    assert (closed.code, closed.reconnect) == (1002, False)
    assert closed.reason.startswith("the server sent ")
    await client.close()
    assert peer.socket.close_code == 1002


async def test_leaving_by_an_exception_closes_the_connection(server: Server) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connect(server.url) as client:
            raise ZeroDivisionError
    assert client.closed is not None
    assert client.closed.code == 1000
