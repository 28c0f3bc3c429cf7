"""What a client sends before its request is bounded, and so are the clients that send none."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadStatusLine

from jackfield.session import request_heads as module
from jackfield.session.request_heads import LimitedRequestHandler, WaitingClients, track_requests
from jackfield.telemetry.log import RateLimitedLog
from jackfield.wire.close_codes import CloseCode
from tests.support.connected import Connected, KeepingTransport, limits_of
from tests.support.waiting import wait_until

LIMITS = {"header_bytes": 1024, "message_bytes": 1024, "unauthenticated": 2}


class Clients:
    """Clients of a server of aiohttp's, each on a transport that keeps what is written."""

    def __init__(self) -> None:
        log = RateLimitedLog(structlog.get_logger("jackfield"))
        self.waiting = WaitingClients(limits_of(LIMITS), log)
        self.requests: asyncio.Queue[str] = asyncio.Queue()
        self.answer = asyncio.Event()
        #: What a handler raises instead of an answer.
        self.fault: Exception | None = None
        self.server = web.Server(self._handle)
        self.handlers: list[LimitedRequestHandler] = []

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.requests.put_nowait(request.path)
            await self.answer.wait()
            if self.fault is not None:
                raise self.fault
            return web.Response(text="answered")

        return await track_requests(cast(web.Request, request), handle)

    def connect(self) -> tuple[LimitedRequestHandler, KeepingTransport]:
        handler = LimitedRequestHandler(self.server, self.waiting, asyncio.get_running_loop())
        transport = KeepingTransport()
        handler.connection_made(transport)
        self.handlers.append(handler)
        return handler, transport

    async def asking(self) -> tuple[LimitedRequestHandler, KeepingTransport]:
        """A client with a request under way."""
        handler, transport = self.connect()
        handler.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await self.requests.get()
        return handler, transport

    async def close(self) -> None:
        self.answer.set()
        for handler in self.handlers:
            handler.connection_lost(None)
        await self.server.shutdown(0)


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    made = Clients()
    yield made
    await made.close()


async def test_a_client_waits_until_it_has_asked_and_again_behind_the_answer(
    clients: Clients,
) -> None:
    handler, _ = await clients.asking()
    assert len(clients.waiting) == 0
    clients.answer.set()
    await wait_until(lambda: len(clients.waiting) == 1)
    handler.connection_lost(None)
    assert len(clients.waiting) == 0


async def test_of_too_many_the_one_that_has_waited_longest_is_cut_off(
    clients: Clients, logged: Callable[[], str]
) -> None:
    transports = [clients.connect()[1] for _ in range(3)]
    assert [each.is_aborted for each in transports] == [True, False, False]
    assert len(clients.waiting) == 2
    assert "too many clients have asked for nothing" in logged()


async def test_who_asks_is_not_among_them(clients: Clients) -> None:
    _, asking = await clients.asking()
    waiting = [clients.connect()[1] for _ in range(2)]
    assert [each.is_aborted for each in (asking, *waiting)] == [False] * 3


async def test_a_head_that_does_not_end_is_answered_with_431(clients: Clients) -> None:
    handler, transport = clients.connect()
    handler.data_received(b"GET / HTTP/1.1\r\nX: " + b"x" * 500 + b"\r\n")
    assert transport.written == b""
    for _ in range(5):
        handler.data_received(b"X: " + b"x" * 200 + b"\r\n")
    assert transport.written.startswith(b"HTTP/1.1 431 ")
    assert transport.written.count(b"HTTP/1.1") == 1


async def test_the_body_of_a_request_is_its_handlers_matter(clients: Clients) -> None:
    handler, transport = clients.connect()
    handler.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n")
    await clients.requests.get()
    for _ in range(9):
        handler.data_received(b"x" * 1000)
    assert transport.written == b""
    assert not transport.is_aborted


def upgraded(handler: LimitedRequestHandler) -> Connected:
    client = Connected()
    handler.upgrade(client.connection)
    return client


def received(handler: LimitedRequestHandler, size: int) -> None:
    """Have so many bytes come, whatever they are."""
    handler._received += size
    if handler._received > handler._allowed:
        handler._check_received()


async def test_a_websocket_may_send_as_long_as_messages_come_of_it(clients: Clients) -> None:
    handler, _ = await clients.asking()
    client = upgraded(handler)
    for _ in range(5):
        client.connection.allowance.left -= 1
        received(handler, module._READ_AHEAD + 1)
    assert client.closed_with() is None


async def test_frames_that_never_become_a_message_close_it_and_then_cut_it(
    clients: Clients, logged: Callable[[], str]
) -> None:
    handler, transport = await clients.asking()
    client = upgraded(handler)
    received(handler, module._READ_AHEAD + 1)  # what it had done before is not known
    received(handler, module._READ_AHEAD)
    assert client.closed_with() is None
    received(handler, 1)
    assert client.closed_with() is CloseCode.MESSAGE_TOO_BIG
    assert [transport.is_aborted] == [False]
    received(handler, module._READ_AHEAD + 1)
    assert transport.is_aborted
    assert "it sends on after it was closed" in logged()
    assert '"connection": "c1"' in logged()
    client.close()


async def test_large_messages_may_take_more_bytes(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ_AHEAD", 100)
    handler, _ = await clients.asking()
    upgraded(handler)
    assert handler._allowed == 8 * 1024


async def test_a_lost_connection_writes_no_more_to_its_socket(clients: Clients) -> None:
    handler, _ = await clients.asking()
    client = upgraded(handler)
    client.connection.send(b"{}")
    handler.connection_lost(None)
    assert client.sent() == []


async def test_one_that_has_gone_is_not_cut_off(
    clients: Clients, logged: Callable[[], str]
) -> None:
    handler, transport = clients.connect()
    handler.connection_lost(None)
    handler.cut_off("late")
    assert not transport.is_aborted
    assert "late" not in logged()


async def test_requests_of_another_server_are_let_through() -> None:
    class Other:
        protocol: Any = None

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    response = await track_requests(cast(web.Request, Other()), handle)
    assert response.status == 204


@pytest.mark.parametrize(
    ("fault", "status", "code", "logs"),
    [
        (TimeoutError(), b"504", b"timeout", False),
        (ValueError("broken"), b"500", b"internal", True),
        (web.HTTPExpectationFailed(), b"417", b"invalid_message", False),
    ],
)
async def test_what_a_handler_raises_is_told_as_a_problem(
    clients: Clients,
    logged: Callable[[], str],
    fault: Exception,
    status: bytes,
    code: bytes,
    *,
    logs: bool,
) -> None:
    clients.fault = fault
    _, transport = await clients.asking()
    clients.answer.set()
    await wait_until(lambda: b"}" in transport.written)
    answer = transport.written
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b'"code":"' + code in answer
    assert b"Server:" not in answer
    assert ("broken" in logged()) is logs


async def test_a_fault_within_aiohttp_has_its_trace_and_what_a_client_causes_has_none(
    clients: Clients, logged: Callable[[], str]
) -> None:
    handler, _ = clients.connect()
    handler.log_exception("Unhandled exception", exc_info=BadStatusLine("GET /ws?ticket=secret"))
    assert "BadStatusLine" in logged()
    assert "secret" not in logged()
    handler.log_exception("Unhandled exception", exc_info=ValueError("ours"))
    assert "ours" in logged()
