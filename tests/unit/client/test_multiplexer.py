"""Each message reaches the one that waits for it, whoever else leaves, fails or reads slowly."""

import asyncio
from typing import Any

import pytest

from jackfield.client import ConnectionClosed, EventsLost, RequestError
from jackfield.client.inbox import Inbox
from jackfield.client.message import encode
from jackfield.client.multiplexer import Multiplexer
from tests.support.peer import Peer


async def all_delivered(multiplexer: Multiplexer, peer: Peer) -> None:
    """Wait until the client has handled whatever the server has sent so far."""
    asking = asyncio.create_task(multiplexer.request("session.ping", None, None))
    while (request := await peer.receive())["type"] != "session.ping":
        pass
    await peer.send("reply", id=request["id"], payload={})
    await asking


async def test_replies_in_any_order_find_their_requests(
    multiplexer: Multiplexer, peer: Peer
) -> None:
    asking = [asyncio.create_task(multiplexer.request("a.b", {"n": n}, None)) for n in range(3)]
    ids = [(await peer.receive())["id"] for _ in asking]
    assert len(set(ids)) == 3
    for id_ in reversed(ids):
        await peer.send("reply", id=id_, payload={"id": id_})
    assert await asyncio.gather(*asking) == [{"id": id_} for id_ in ids]


async def test_an_error_is_raised_at_its_request_alone(
    multiplexer: Multiplexer, peer: Peer
) -> None:
    failing = asyncio.create_task(multiplexer.request("a.b", None, None))
    other = asyncio.create_task(multiplexer.request("a.b", None, None))
    first, second = await peer.receive(), await peer.receive()
    error = {"code": "internal", "message": "It failed."}
    await peer.send("error", id=first["id"], error=error)
    await peer.send("reply", id=second["id"], payload={})
    with pytest.raises(RequestError, match="It failed"):
        await failing
    assert await other == {}


@pytest.mark.parametrize("answered", [True, False])
async def test_leaving_an_exchange_cancels_it_only_before_its_last_answer(
    multiplexer: Multiplexer, peer: Peer, *, answered: bool
) -> None:
    async with multiplexer.exchange("a.b", None) as inbox:
        id_ = (await peer.receive())["id"]
        if answered:
            await peer.send("reply", id=id_, payload={})
            await inbox.get()
    await multiplexer.send(encode({"type": "next"}))
    received = await peer.receive()
    if not answered:
        assert received == {"type": "request.cancel", "payload": {"id": id_}}
        received = await peer.receive()
    assert received == {"type": "next"}


async def test_a_posted_request_puts_its_answer_into_the_inbox(
    multiplexer: Multiplexer, peer: Peer
) -> None:
    inbox = Inbox(1000, EventsLost)
    multiplexer.post("a.b", {"n": 1}, inbox)
    id_ = (await peer.receive())["id"]
    await peer.send("reply", id=id_, payload={"n": 2})
    assert (await inbox.get())["payload"] == {"n": 2}


GAP = {"code": "unrecoverable", "topic": "t", "epoch": "e", "offset": 1, "message": "Gone."}


@pytest.mark.parametrize(
    "message",
    [
        {"type_": "event", "topic": "t", "offset": 1, "payload": {}},
        {"type_": "presence", "topic": "t", "joined": {}},
        {"type_": "error", "id": None, "error": GAP},
    ],
)
async def test_a_message_of_a_topic_is_for_its_reader_if_there_is_one(
    multiplexer: Multiplexer, peer: Peer, message: dict[str, Any]
) -> None:
    await peer.send(**message)
    assert (await multiplexer.events.get())["type"] == message["type_"]
    multiplexer.topics["t"] = Inbox(1000, EventsLost)
    await peer.send(**message)
    assert (await multiplexer.topics["t"].get())["type"] == message["type_"]


async def test_what_nothing_waits_for_is_dropped(multiplexer: Multiplexer, peer: Peer) -> None:
    await peer.send("reply", id=77, payload={})
    await peer.send("chunk", id=77, seq=0, payload={})
    await peer.send("error", id=77, error={"code": "internal", "message": "No."})
    await all_delivered(multiplexer, peer)
    await peer.send("event", topic="t", offset=1, payload={})
    assert (await multiplexer.events.get())["type"] == "event"


async def test_a_reader_that_never_reads_delays_no_answer(
    multiplexer: Multiplexer, peer: Peer
) -> None:
    async with multiplexer.exchange("a.stream", None) as unread:
        id_ = (await peer.receive())["id"]
        for seq in range(1000):  # a thousand times what its inbox holds
            await peer.send("chunk", id=id_, seq=seq, payload={"text": "x" * 1000})
        # The reply comes behind all of these, so it comes only if they were taken off the socket.
        await all_delivered(multiplexer, peer)
        assert (await unread.get())["seq"] == 0


@pytest.mark.parametrize(
    "message",
    [
        {"type": "reply", "id": 1},
        {"type": "chunk", "id": 1, "payload": {}},
        {"type": "goodbye", "payload": {}},
        {"id": 1},
    ],
)
async def test_a_message_that_is_none_of_the_protocol_ends_the_connection(
    multiplexer: Multiplexer, peer: Peer, message: dict[str, Any]
) -> None:
    await peer.socket.send_json(message)
    closed = await multiplexer.wait_closed()
    assert (closed.code, closed.reconnect) == (1002, False)


async def test_the_goodbye_says_how_the_connection_ended(
    multiplexer: Multiplexer, peer: Peer
) -> None:
    goodbye = {"code": 4001, "reason": "shutdown", "reconnect": True, "after": 2}
    await peer.send("goodbye", payload=goodbye)
    await peer.socket.close(code=4001)
    closed = await multiplexer.wait_closed()
    assert (closed.code, closed.reconnect, closed.after) == (4001, True, 2)
    assert multiplexer.closed is closed
    assert not multiplexer.closed_here


async def test_after_the_end_nothing_is_sent_and_all_that_waits_is_told(
    multiplexer: Multiplexer, peer: Peer
) -> None:
    multiplexer.topics["t"] = Inbox(1000, EventsLost)
    async with multiplexer.exchange("a.b", None) as inbox:
        await peer.receive()
        await multiplexer.close(4000)
        for waiting in (inbox, multiplexer.topics["t"], multiplexer.events):
            with pytest.raises(ConnectionClosed, match="closed by this client"):
                await waiting.get()
    with pytest.raises(ConnectionClosed):
        await multiplexer.send(encode({"type": "x"}))
    assert multiplexer.closed_here
    assert peer.received_nothing_more()
