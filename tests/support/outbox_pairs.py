"""Outboxes on real sockets, with the client's end in the test's hands, on both event loops."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from jackfield.connection.outbox import Outbox
from tests.support.outboxes import NEVER
from tests.support.routing import turns

#: Seconds: only a test that fails ever waits this long.
_PATIENCE = 10.0

on_both_loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[[Coroutine[Any, Any, None]], None]


class _Guard(asyncio.Protocol):
    """Tells the outbox of the end, as the server's protocol does."""

    outbox: Outbox

    def connection_lost(self, exc: BaseException | None) -> None:
        del exc
        self.outbox.discard()


@asynccontextmanager
async def pair(
    *, limit: int = 1 << 20, write_timeout: float = NEVER, direct: bool = False
) -> AsyncIterator[tuple[Outbox, asyncio.Transport, socket.socket, asyncio.Event]]:
    """An outbox on a real socket, its transport, the client's end, and whether it stalled.

    With `direct` the outbox knows the socket, and may write to it past the transport.
    """
    stalled = asyncio.Event()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    async def drain() -> None:
        """Nothing here waits for room."""

    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(_Guard, sock=ours)
    outbox = protocol.outbox = Outbox(
        transport,
        drain,
        limit=limit,
        timeout=write_timeout,
        on_stalled=stalled.set,
        descriptor=transport.get_extra_info("socket").fileno() if direct else None,
    )
    faults: list[Any] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    try:
        async with asyncio.timeout(_PATIENCE):
            yield outbox, transport, theirs, stalled
    finally:
        outbox.discard()
        transport.abort()
        theirs.close()
        await turns()
    assert faults == []


async def read(client: socket.socket, size: int) -> bytes:
    """What the client's end has, once it is `size` bytes or the connection has ended."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size and (more := await loop.sock_recv(client, 1 << 16)):
        data += more
    return data
