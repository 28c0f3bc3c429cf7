from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from jackfield.client.multiplexer import Multiplexer
from jackfield.client.socket import open_socket
from tests.support.peer import Peer, Server, serve


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server that the test scripts."""
    async with serve() as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
async def multiplexer(server: Server, session: ClientSession) -> AsyncIterator[Multiplexer]:
    """One that is connected to the server, which has subscribed it to the topic ``own``."""
    socket, _ = await open_socket(session, server.url, {}, "jackfield.v1")
    multiplexer = Multiplexer(socket, ["own"], 1000)
    yield multiplexer
    await multiplexer.close(1000)


@pytest.fixture
async def peer(server: Server, multiplexer: Multiplexer) -> Peer:
    """The server's end of that connection."""
    assert multiplexer.closed is None
    return await server.peers.get()
