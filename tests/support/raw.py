"""A WebSocket spoken to in single frames, also those that no client library would send."""

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from multidict import CIMultiDict

from jackfield.testing import RunningServer
from tests.support.wire import PATIENCE

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


def masked(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """One frame of a client."""
    first = (0x80 if fin else 0) | rsv | opcode
    length = len(payload)
    if length < 126:
        header = struct.pack("!BB", first, 0x80 | length)
    elif length < 65536:
        header = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        header = struct.pack("!BBQ", first, 0x80 | 127, length)
    return header + b"\0\0\0\0" + payload  # a mask of zeros masks nothing


class Answer:
    """A response to a request, as it came over the wire."""

    def __init__(self, response: bytes) -> None:
        head, _, self.body = response.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(status_line.split()[1])
        self.headers = CIMultiDict(
            (name, value) for name, _, value in (line.partition(": ") for line in lines)
        )

    @property
    def problem(self) -> Any:
        """What it says as problem+json; fails if it is none."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        problem = msgspec.json.decode(self.body)
        assert problem["status"] == self.status
        return problem


class Raw:
    """A TCP connection after the upgrade, for frames no client library would send."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.answer = answer
        self._inflate = zlib.decompressobj(-15).decompress

    def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> None:
        self.writer.write(masked(opcode, payload, fin=fin, rsv=rsv))

    async def receive(self) -> tuple[int, bytes]:
        async with asyncio.timeout(PATIENCE):
            first, second = await self.reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            assert not second & 0x80, "a server's frame is not masked"
            payload = await self.reader.readexactly(length)
            if first & 0x40:  # compressed, if that was agreed on (RFC 7692)
                assert "Sec-WebSocket-Extensions" in self.answer.headers
                payload = self._inflate(payload + b"\x00\x00\xff\xff")
            return first & 0xF, payload

    async def welcome(self) -> None:
        assert (await self.message())["type"] == "welcome"

    async def message(self) -> Any:
        opcode, payload = await self.receive()
        assert opcode == TEXT
        return msgspec.json.decode(payload)

    async def close_code(self) -> int:
        """The code of the close frame; everything before it is dropped."""
        while True:
            opcode, payload = await self.receive()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2])

    async def ends(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read() == b""


async def ask(server: RunningServer, request: bytes) -> Answer:
    """What a server answers to a request that no client library would send."""
    port = int(server.address.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        async with asyncio.timeout(PATIENCE):
            response = await reader.readuntil(b"\r\n\r\n")
            no_body = request.startswith(b"HEAD")
            length = 0 if no_body else Answer(response).headers.get("Content-Length", "0")
            return Answer(response + await reader.readexactly(int(length)))
    finally:
        writer.close()


def upgrade(*headers: str, start: str = "GET /ws HTTP/1.1", without: str = "") -> bytes:
    """A request for a WebSocket.

    Args:
        *headers: Headers beside the usual ones, or in place of those of the same name.
        start: Its first line.
        without: The name of a header that it lacks.
    """
    usual = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    given = {header.partition(":")[0] for header in headers} | {without}
    lines = [f"{name}: {value}" for name, value in usual.items() if name not in given]
    return "\r\n".join([start, *lines, *headers, "", ""]).encode("latin-1")


@asynccontextmanager
async def raw(server: RunningServer, *headers: str) -> AsyncIterator[Raw]:
    port = int(server.address.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(upgrade(*headers))
    try:
        response = await reader.readuntil(b"\r\n\r\n")
        assert response.startswith(b"HTTP/1.1 101"), response
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in response  # RFC 6455, section 1.3
        yield Raw(reader, writer, Answer(response))
    finally:
        writer.close()
