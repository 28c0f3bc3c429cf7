"""A connection ends with its close handshake, and with its handlers."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from aiohttp import WSMessage, WSMsgType

from jackfield import Context, Plugin
from jackfield.session import closing as module
from jackfield.session.closing import finish_close_handshake, stop_requests
from jackfield.session.receiver import Receiver
from jackfield.wire.close_codes import CloseCode
from tests.support.connected import Connected
from tests.support.routing import Routing, message, turns


class Ended:
    """A receiver that a frame has ended."""

    def __init__(self, last: WSMessage | None) -> None:
        self.ended_by = last


def ended(kind: WSMsgType | None, code: int = 0) -> Receiver:
    last = None if kind is None else WSMessage(kind, code, "")
    return cast(Receiver, Ended(last))


async def test_a_clients_close_is_echoed_before_the_socket_is_closed() -> None:
    client = Connected()
    client.connection.send(b"{}")
    await finish_close_handshake(client.connection, ended(WSMsgType.CLOSE, 1000))
    assert client.transport.is_closed
    assert client.sent() == [{}, (1000, "")]
    assert not client.transport.is_aborted
    client.close()


async def test_the_answer_to_our_close_closes_the_socket() -> None:
    client = Connected()
    client.connection.close(CloseCode.OK, "idle")
    await finish_close_handshake(client.connection, ended(WSMsgType.CLOSE, 1000))
    assert client.sent() == [(1000, "idle")]
    assert client.transport.is_closed
    client.close()


async def test_who_broke_the_protocol_has_time_to_read_the_close_and_is_cut() -> None:
    client = Connected()
    client.request.transport = client.transport
    client.connection.close(CloseCode.PROTOCOL_ERROR)
    finishing = asyncio.create_task(
        finish_close_handshake(client.connection, ended(WSMsgType.ERROR))
    )
    await turns(1)
    assert client.sent() == [(1002, "protocol error")]
    assert [client.transport.is_aborted] == [False]
    client.request.transport = None  # it has gone
    await finishing
    assert client.transport.is_aborted
    client.close()


async def test_who_broke_the_protocol_and_stays_is_cut_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 3 * module._POLL_INTERVAL)
    client = Connected()
    client.request.transport = client.transport
    client.connection.close(CloseCode.PROTOCOL_ERROR)
    await finish_close_handshake(client.connection, ended(None))
    assert client.transport.is_aborted
    client.close()


async def test_who_has_vanished_gets_nothing() -> None:
    client = Connected()
    await finish_close_handshake(client.connection, ended(WSMsgType.CLOSED))
    assert client.sent() == []
    assert not client.transport.is_closing()


def waiting(then: Callable[[], Any]) -> tuple[Routing, Connected]:
    plugin = Plugin("test")

    @plugin.handler("test.wait", concurrent=True)
    async def wait(ctx: Context, data: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            then()
            raise

    return Routing(plugin), Connected()


async def test_handlers_are_cancelled_and_waited_for() -> None:
    ended: list[str] = []
    routing, client = waiting(lambda: ended.append("ended"))
    for number in range(3):
        routing.dispatcher.start(routing.accept(client.connection, message("test.wait", number)))
    await turns()
    await stop_requests(client.connection)
    assert ended == ["ended"] * 3
    assert client.connection.requests == {}
    routing.close()


async def test_one_that_had_not_begun_never_does() -> None:
    ended: list[str] = []
    routing, client = waiting(lambda: ended.append("ended"))
    routing.dispatcher.start(routing.accept(client.connection, message("test.wait")))
    await stop_requests(client.connection)
    assert (ended, client.connection.requests) == ([], {})
    routing.close()


async def test_without_requests_nothing_is_waited_for() -> None:
    with pytest.raises(StopIteration):
        stop_requests(Connected().connection).send(None)


async def test_handlers_that_ignore_their_cancellation_are_named(
    monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    monkeypatch.setattr(module, "_CANCEL_TIMEOUT", 0)
    goes_on = asyncio.Event()
    plugin = Plugin("test")

    @plugin.handler("test.ignore", concurrent=True)
    async def ignore(ctx: Context, data: Any) -> None:
        while not goes_on.is_set():
            try:
                await goes_on.wait()
            except asyncio.CancelledError:
                continue

    routing, client = Routing(plugin), Connected()
    request = routing.accept(client.connection, message("test.ignore"))
    routing.dispatcher.start(request)
    await turns()
    await stop_requests(client.connection)
    assert '"event": "handlers ignore their cancellation"' in logged()
    assert '"count": 1' in logged()
    goes_on.set()
    assert request.task is not None
    await request.task
    routing.close()
