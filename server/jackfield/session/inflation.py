"""Inflate what clients send no faster than it is handled, and little in one turn of the loop.

A frame of 86 bytes may open to 65,000, and one read of the socket brings three thousand of them. So
messages are inflated one by one: only while the client's queue has room, and up to a bound for all
clients together in each turn of the event loop. Meanwhile no more is read of their sockets.
"""

import asyncio
from collections import deque
from typing import Final

from jackfield.wire.client_frames import FrameReader
from jackfield.wire.deflated_frames import DeflatedFrames

#: Bytes that are inflated in one turn, by all clients together: some milliseconds' work, with what
#: it takes to decode and answer them. One message more may be, so that the largest gets through.
_PER_TURN: Final = 256 * 1024
#: What a frame counts beside its bytes: without it, a read of empty ones would take long.
_FRAME: Final = 256


class Inflation:
    """What is inflated in one turn of the event loop, shared by all clients of a node."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = _PER_TURN
        self._waiting: deque[InflatingReader] = deque()
        self._turn_is_scheduled = False

    @property
    def has_room(self) -> bool:
        """Whether more may be inflated in this turn."""
        return self._left > 0

    def take(self, size: int) -> None:
        """Count bytes that were inflated in this turn."""
        self._left -= size
        self._schedule()

    def wait(self, reader: "InflatingReader") -> None:
        """Have a client inflate what is left in a later turn; the one that waits longest first."""
        self._waiting.append(reader)
        self._schedule()

    def _schedule(self) -> None:
        if not self._turn_is_scheduled:
            self._turn_is_scheduled = True
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._turn_is_scheduled = False
        self._left = _PER_TURN
        for _ in range(len(self._waiting)):
            if not self.has_room:
                self._schedule()
                return
            self._waiting.popleft().inflate()


class InflatingReader:
    """Hands inflated frames to aiohttp's reader as there is room for them.

    Args:
        reader: aiohttp's reader.
        frames: The frames of the client.
        inflation: What bounds how much is inflated in a turn.
        transport: The client's, of which no more is read while something waits.
    """

    __slots__ = ("_frames", "_inflation", "_is_full", "_is_waiting", "_reader", "_transport")

    def __init__(
        self,
        reader: FrameReader,
        frames: DeflatedFrames,
        inflation: Inflation,
        transport: asyncio.Transport,
    ) -> None:
        self._reader = reader  # its queue holds it by a weak reference only
        self._frames = frames
        self._inflation = inflation
        self._transport = transport
        #: Whether the queue of messages is full.
        self._is_full = False
        #: Whether it waits for its turn.
        self._is_waiting = False

    def feed_eof(self) -> None:
        """Note that the client is gone; what has not been inflated is dropped."""
        self._frames.end()
        self._reader.feed_eof()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes of the socket, and inflate what there is room for.

        Returns:
            What aiohttp takes for "go on".
        """
        self._frames.receive(data)
        if self._is_full or self._is_waiting:
            self._pause()
        else:
            self._inflate()
        return False, b""

    def stop(self) -> None:
        """Note that the queue of messages is full."""
        self._is_full = True

    def go_on(self) -> None:
        """Note that the queue has room again, for which the transport was resumed."""
        self._is_full = False
        self._pause()
        if not self._is_waiting:
            self._wait()

    def inflate(self) -> None:
        """Inflate what is left; its turn has come."""
        self._is_waiting = False
        if not self._is_full and self._inflate() and not self._transport.is_closing():
            self._transport.resume_reading()

    def _inflate(self) -> bool:
        """Inflate what there is room for; return whether that was all."""
        while not self._is_full:
            if not self._inflation.has_room:
                self._pause()
                self._wait()
                return False
            frames = self._frames.take()
            if frames is None:
                return True
            self._inflation.take(_FRAME + len(frames))
            self._reader.feed_data(frames)
        self._pause()
        return False

    def _wait(self) -> None:
        self._is_waiting = True
        self._inflation.wait(self)

    def _pause(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()
