"""A WebSocket is opened with a welcome or not at all, and every failure has a meaning."""

import asyncio
import errno
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from jackfield.client import ConnectionClosed, ConnectionFailed
from jackfield.client import socket as client_socket
from jackfield.client.socket import ClientSocket, close_socket, open_socket, receive
from tests.support.peer import Peer, Server
from tests.support.waiting import promptly

#: How aiohttp names a connection in its errors.
KEY = ConnectionKey(
    "example.org",
    8080,
    is_ssl=False,
    ssl=True,
    proxy=None,
    proxy_auth=None,
    proxy_headers_hash=None,
)


async def opened(server: Server, session: aiohttp.ClientSession) -> tuple[ClientSocket, Peer]:
    socket, _ = await open_socket(session, server.url, {}, "jackfield.v1")
    return socket, await server.peers.get()


async def test_opening_returns_the_welcome(server: Server, session: aiohttp.ClientSession) -> None:
    socket, welcome = await open_socket(session, server.url, {"X-A": "b"}, "jackfield.v1")
    assert welcome["connection"] == "c1"
    peer = await server.peers.get()
    assert (peer.headers["X-A"], peer.socket.ws_protocol) == ("b", "jackfield.v1")
    await close_socket(socket, 1000)


async def test_a_welcome_of_another_protocol_leaves_nothing_open(
    server: Server, session: aiohttp.ClientSession
) -> None:
    server.first = {"type": "welcome", "payload": {}}
    with pytest.raises(ConnectionFailed, match="it sent no welcome") as failed:
        await open_socket(session, server.url, {}, "jackfield.v1")
    assert not failed.value.reconnect
    assert (await server.peers.get()).socket.close_code == 1000


async def test_a_cancelled_opening_leaves_nothing_open(
    server: Server, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.Event()

    async def wait_for_welcome(_socket: ClientSocket) -> None:
        waiting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(client_socket, "receive", wait_for_welcome)
    opening = asyncio.create_task(open_socket(session, server.url, {}, "jackfield.v1"))
    await waiting.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert (await server.peers.get()).socket.close_code == 1000


async def test_a_message_comes_with_its_size(
    server: Server, session: aiohttp.ClientSession
) -> None:
    socket, peer = await opened(server, session)
    await peer.socket.send_str('{"type": "ü"}')
    assert await receive(socket) == ({"type": "ü"}, 14)
    await close_socket(socket, 1000)


@pytest.mark.parametrize(
    ("close", "code", "reason"),
    [
        (lambda peer: peer.socket.close(code=4001, message=b"shutdown"), 4001, "shutdown"),
        (lambda peer: peer.socket.send_bytes(b"{}"), 1002, "the server sent a binary frame"),
        (lambda peer: peer.socket.send_str("[]"), 1002, "the server sent text that is not a JSON"),
    ],
)
async def test_the_end_has_a_code_and_a_reason(
    server: Server, session: aiohttp.ClientSession, close: Any, code: int, reason: str
) -> None:
    socket, peer = await opened(server, session)
    await close(peer)
    with pytest.raises(ConnectionClosed) as closed:
        await receive(socket)
    assert closed.value.code == code
    assert closed.value.reason.startswith(reason)
    await close_socket(socket, 1000)


async def test_a_lost_connection_has_a_code_of_its_own(
    server: Server, session: aiohttp.ClientSession
) -> None:
    socket, peer = await opened(server, session)
    peer.cut()
    with pytest.raises(ConnectionClosed, match=r"the connection was lost \(1006\)") as closed:
        await receive(socket)
    assert closed.value.reconnect


async def test_closing_does_not_wait_for_a_server_that_is_stalled(
    server: Server, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_socket, "CLOSE_TIMEOUT", 0.01)
    socket, peer = await opened(server, session)
    peer.reads.clear()
    await socket.send_str('{"type": "x"}')
    await peer.receive()  # the server reads nothing after this
    # Without the limit of its own, aiohttp would wait for ten seconds.
    async with promptly():
        await close_socket(socket, 1000)
    assert socket.closed


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (aiohttp.InvalidURL("ws://h:1/ws?ticket=s3cr3t"), "'ws://h:1/ws' is not an address like"),
        (
            aiohttp.ClientConnectorDNSError(KEY, OSError(None, "Name not known")),
            "The host 'example.org' cannot be found: Name not known.",
        ),
        (
            aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "x")),
            "The server at example.org:8080 cannot be reached: Connection refused.",
        ),
        (
            aiohttp.ClientConnectorSSLError(KEY, OSError(None, "wrong version")),
            "There is no TLS with example.org:8080: ",
        ),
        (
            aiohttp.ClientConnectorCertificateError(KEY, ValueError("expired")),
            "The certificate of example.org is not trusted: expired.",
        ),
        (aiohttp.ServerDisconnectedError(), "The connection broke at its opening: "),
    ],
)
def test_a_server_that_was_not_reached_is_explained(
    error: aiohttp.ClientError, message: str
) -> None:
    explained = client_socket._explain(error, "ws://h:1/ws?ticket=s3cr3t")
    assert explained.startswith(message)
    assert explained.endswith(".")
    assert "s3cr3t" not in explained
