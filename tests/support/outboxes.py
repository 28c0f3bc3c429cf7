"""An outbox on a transport that keeps what it is given, for tests without a socket."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import WSMsgType

from jackfield.connection.outbox import CompressedOutbox, Outbox

#: Seconds that never pass in a test.
NEVER: Final = 3600.0
LIMIT: Final = 100_000


class Recorder(asyncio.WriteTransport):
    """A transport that keeps what it is given until it is told that the client took it."""

    def __init__(self, waiting: int = 0) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.waiting = waiting
        self.closing = False
        #: Whether what is written goes straight on to the client, as a free socket lets it.
        self.free = False

    def write(self, data: Any) -> None:
        self.written.append(data)
        self.waiting += 0 if self.free else len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closing


class Recorded:
    """An outbox on a recorder, and what becomes of it."""

    def __init__(
        self,
        *,
        waiting: int = 0,
        compressor: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> None:
        self.transport = Recorder(waiting)
        self.stalls = 0
        self.drains: list[int] = []
        self.frames: list[tuple[WSMsgType, bytes]] = []
        self.compressor = compressor
        bounds: dict[str, Any] = {"limit": LIMIT, "timeout": NEVER, "on_stalled": self.stalled}
        self.outbox = (
            Outbox(self.transport, self.drain, **bounds)
            if compressor is None
            else CompressedOutbox(self.transport, self.drain, **bounds, send_frame=self.send_frame)
        )

    def stalled(self) -> None:
        self.stalls += 1

    async def drain(self) -> None:
        self.drains.append(len(self.transport.written))

    async def send_frame(self, payload: bytes, kind: WSMsgType) -> None:
        self.frames.append((kind, payload))
        assert self.compressor is not None
        await self.compressor(payload)

    def check(self) -> None:
        """Let the write timeout pass."""
        timer = self.outbox._check_timer
        assert timer is not None
        timer.cancel()
        self.outbox._check()

    @property
    def is_checked(self) -> bool:
        return self.outbox._check_timer is not None


async def at_once(_: bytes) -> None:
    """A compressor that never waits."""
