"""What an idle connection costs the server's memory."""

import asyncio
import resource
import sys
from collections.abc import Iterator

import pytest

from jackfield.client import connect
from tests.functional.test_shutdown import serving
from tests.support.resident import resident_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

#: Enough to drown what the process allocates once, and within a usual limit on open files.
CONNECTIONS = 500


@pytest.fixture(autouse=True)
def _open_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def open_idle(port: int, count: int) -> list[asyncio.StreamWriter]:
    """Open raw WebSockets that have got their welcome and then say nothing."""
    writers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}}}")
        writers.append(writer)
    return writers


async def test_an_idle_connection_costs_at_most_18_kilobytes(valkey_url: str) -> None:
    variables = {"JACKFIELD__REDIS__URL": valkey_url, "JACKFIELD__REDIS__PREFIX": "test-memory"}
    async with serving(variables) as (process, url):
        port = int(url.split(":")[2].split("/")[0])
        async with connect(url) as client:
            await client.request("session.describe")
        writers = await open_idle(port, 50)  # what the first ones allocate serves them all
        before = resident_bytes(process.pid)
        writers += await open_idle(port, CONNECTIONS)
        each = (resident_bytes(process.pid) - before) / CONNECTIONS
        for writer in writers:
            writer.close()
        assert each <= 18 * 1024
