"""An outbox on a transport that keeps what it is given, for tests without a socket."""

import asyncio
from typing import Any, Final

from jackfield.connection.outbox import CompressedOutbox, Outbox
from jackfield.wire.deflate import Compressor, Deflate

#: Seconds that never pass in a test.
NEVER: Final = 3600.0
LIMIT: Final = 100_000
#: What a client that compresses has agreed on.
AGREED: Final = Deflate(12, 15, server_takeover=True, client_takeover=True, tells_client_bits=False)


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

    def __init__(self, *, waiting: int = 0, compressed: bool = False) -> None:
        self.transport = Recorder(waiting)
        self.stalls = 0
        self.drains: list[int] = []
        bounds: dict[str, Any] = {"limit": LIMIT, "timeout": NEVER, "on_stalled": self.stalled}
        self.outbox = (
            CompressedOutbox(self.transport, self.drain, **bounds, compressor=Compressor(AGREED))
            if compressed
            else Outbox(self.transport, self.drain, **bounds)
        )

    def stalled(self) -> None:
        self.stalls += 1

    async def drain(self) -> None:
        self.drains.append(len(self.transport.written))

    def check(self) -> None:
        """Let the write timeout pass."""
        timer = self.outbox._check_timer
        assert timer is not None
        timer.cancel()
        self.outbox._check()

    @property
    def is_checked(self) -> bool:
        return self.outbox._check_timer is not None
