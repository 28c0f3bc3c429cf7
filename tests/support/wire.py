"""A raw client for tests: what goes over the wire, by an implementation that isn't ours."""

import asyncio
from types import TracebackType
from typing import Any, Self

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from jackfield.testing import RunningServer

#: Seconds: only a test that fails ever waits this long.
PATIENCE = 10.0


class Wire:
    """One WebSocket, spoken to in raw messages.

    Args:
        server: Whom to connect to.
        subprotocol: What to offer; None for nothing.
        welcomed: Whether to take the welcome off the wire first.
        query: What to put behind the address, with its question mark.
        **options: More for `websockets.connect`.
    """

    socket: ClientConnection

    def __init__(
        self,
        server: RunningServer,
        *,
        subprotocol: str | None = "jackfield.v1",
        welcomed: bool = False,
        query: str = "",
        **options: Any,
    ) -> None:
        self._binary = subprotocol == "jackfield.v1.msgpack"
        self._format: Any = msgspec.msgpack if self._binary else msgspec.json
        self._welcomed = welcomed
        if subprotocol is not None:
            options["subprotocols"] = [Subprotocol(subprotocol)]
        self._connecting = connect(
            server.url + query,
            **{"compression": None, "ping_interval": None, "max_size": None} | options,
        )

    async def __aenter__(self) -> Self:
        self.socket = await self._connecting
        if self._welcomed:
            assert (await self.receive())["type"] == "welcome"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.socket.close()

    def decode(self, data: str | bytes) -> Any:
        return self._format.decode(data)

    async def send(self, message: Any) -> None:
        data = self._format.encode(message)
        await self.socket.send(data, text=not self._binary)

    async def send_text(self, text: str | bytes) -> None:
        await self.socket.send(text, text=True)

    async def receive_text(self) -> str:
        async with asyncio.timeout(PATIENCE):
            text = await self.socket.recv()
        assert isinstance(text, str)
        return text

    async def receive(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            data = await self.socket.recv()
        assert isinstance(data, bytes) is self._binary
        return self.decode(data)

    async def ask(
        self, message_type: str, payload: Any = None, *, message_id: int | str = "ask"
    ) -> Any:
        """Send a request and take the next message for its answer."""
        await self.send({"type": message_type, "id": message_id, "payload": payload or {}})
        answer = await self.receive()
        assert answer["id"] == message_id
        return answer

    async def closed(self) -> tuple[int | None, str | None]:
        """The close code and reason, once the server has closed; what it sent before is dropped."""
        async with asyncio.timeout(PATIENCE):
            await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason
