"""A server under attack, in a process of its own, and the honest client that must not notice."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from aiohttp import ClientSession

from tests.support.nodes import NodeProcess, impatient, serving
from tests.support.resident import resident_bytes

T = TypeVar("T")

#: Bytes: an attack may cost the server so much for a while, and no more.
BEARABLE: Final = 64 * 2**20


@asynccontextmanager
async def attacked(
    redis_url: str, *plugins: Path, **sections: Mapping[str, Any]
) -> AsyncIterator["Victim"]:
    """A server to attack.

    Args:
        redis_url: Its Redis.
        *plugins: Modules with a plugin each, both of that name.
        **sections: What else a configuration file would say.
    """
    async with serving(impatient(redis_url, **sections), *plugins) as node:
        yield Victim(node)


class Victim:
    """A server under attack.

    Args:
        node: Its process.
    """

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        host, port = node.address.removeprefix("http://").split(":")
        self._address = (host, int(port))

    def connect(self) -> socket.socket:
        """A TCP connection; blocking, to be used in a thread."""
        sock = socket.create_connection(self._address, timeout=30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def upgrade(self, *headers: str) -> socket.socket:
        """A WebSocket that has been welcomed; blocking, to be used in a thread."""
        sock = self.connect()
        lines = [
            "GET /ws HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        received = b""
        while not received.partition(b"\r\n\r\n")[2]:  # what comes first is the welcome
            if not (more := sock.recv(4096)):
                raise ConnectionResetError("the server does not let us in")
            received += more
        return sock

    async def serves_the_honest(self, times: int = 1) -> None:
        """Connect, ask and go, so many times; raises if it fails."""
        for _ in range(times):
            async with self.node.connect() as client:
                assert await client.request("session.ping", {"a": 1}) == {"a": 1}

    async def metric(self, name: str) -> float:
        """What it tells Prometheus under a name."""
        async with ClientSession() as http, http.get(f"{self.node.address}/metrics") as response:
            lines = (await response.text()).splitlines()
        (value,) = (line.split()[-1] for line in lines if line.split()[0] == name)
        return float(value)

    def resident_bytes(self) -> int:
        """The memory that it takes; 0 where that can't be told."""
        return resident_bytes(self.node.pid)


async def while_attacked(victim: Victim, attacks: Iterable[Callable[[], T]]) -> list[T]:
    """Have the honest client served for as long as attacks go on, all at once.

    Args:
        victim: The server.
        attacks: Each is called in a thread of its own.

    Returns:
        What the attacks return.
    """
    loop = asyncio.get_running_loop()
    attacks = list(attacks)
    with ThreadPoolExecutor(len(attacks)) as threads:
        siege = asyncio.gather(*(loop.run_in_executor(threads, attack) for attack in attacks))
        await victim.serves_the_honest()
        while not siege.done():
            await victim.serves_the_honest()
        return await siege
