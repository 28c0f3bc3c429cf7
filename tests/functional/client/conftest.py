from collections.abc import AsyncIterator

import pytest

from jackfield.client import Client, connect
from tests.support.peer import Peer, Room, Server, serve


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server whose every word the test speaks itself."""
    async with serve() as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """A client that keeps little for a slow reader."""
    async with connect(server.url, buffer_bytes=1000) as client:
        yield client


@pytest.fixture
async def peer(server: Server, client: Client) -> Peer:
    """The server's end of the client's connection."""
    assert client.closed is None
    return await server.peers.get()


@pytest.fixture
def room(server: Server) -> Room:
    """A topic that the server answers for by itself."""
    room = Room()
    server.answer = room.answer
    return room
