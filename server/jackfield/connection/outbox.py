"""The only writer of a socket: whole frames, joined per turn of the event loop, bounded in bytes.

uvloop makes one system call per `transport.write`. So frames are queued, and written joined once
per turn of the event loop: directly to the socket while no bytes wait before them, which is a fifth
faster than by the transport, and through the transport otherwise. What a client has not taken yet
is counted in bytes, here and in the transport; a client that lets it grow past the limit, or takes
nothing for the write timeout, is cut off. Nothing here waits for a client, so none can delay
another.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from jackfield.wire import frames
from jackfield.wire.deflate import COMPRESSED, Compressor

#: Bytes queued from which on a streaming handler waits: enough for one full write, and small
#: beside the queue's limit, so that a stream alone never gets its client cut off.
_STREAM_BYTES: Final = 16 * 1024
#: Bytes that one connection compresses in a turn of the event loop: about half a millisecond.
_COMPRESSED_PER_TURN: Final = 16 * 1024


class LoopTurn:
    """Callbacks for the event loop's next turn, scheduled together.

    `loop.call_soon` for each outbox would cost as much as writing a short frame.
    """

    def __init__(self) -> None:
        #: Kept, as asking asyncio for it costs a system call for each client.
        self.loop = asyncio.get_running_loop()
        self._callbacks: list[Callable[[], None]] = []
        self._is_taken = False

    def take_first(self) -> bool:
        """Return True to the first caller in each turn, False to all others."""
        if self._is_taken:
            return False
        self._is_taken = True
        self.call_soon(self._end)
        return True

    def _end(self) -> None:
        self._is_taken = False

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call this in the next turn, in the order in which it was asked for."""
        if not self._callbacks:
            self.loop.call_soon(self._call_all)
        self._callbacks.append(callback)

    def _call_all(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception as exc:  # noqa: BLE001 - the others are called all the same
                self.loop.call_exception_handler({"message": "a write failed", "exception": exc})


class Outbox:
    """The queue of frames for one client, and what writes them.

    Args:
        transport: The connection's transport.
        drain: Waits until the transport's buffer is below its high-water mark.
        limit: Bytes that may be queued, here and in the transport together.
        timeout: Seconds that a client may take nothing while bytes are queued.
        on_stalled: Called once, from the event loop, for a client past either bound.
        turn: Shared with the other outboxes of the loop; one of its own by default.
        descriptor: The socket's file descriptor, to write directly to it; None where the transport
            changes the bytes, as with TLS. `discard` must be called before it is closed.
    """

    __slots__ = (
        "_call_in_turn",
        "_check_timer",
        "_descriptor",
        "_drain",
        "_frames",
        "_is_direct",
        "_limit",
        "_on_stalled",
        "_pending",
        "_sealed",
        "_taken",
        "_timeout",
        "_transport",
        "_write_scheduled",
        "_written",
        "loop",
        "turn",
    )

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        drain: Callable[[], Awaitable[None]],
        *,
        limit: int,
        timeout: float,
        on_stalled: Callable[[], None],
        turn: LoopTurn | None = None,
        descriptor: int | None = None,
    ) -> None:
        self._descriptor = descriptor
        self.turn = LoopTurn() if turn is None else turn
        #: Kept, as asking asyncio for it costs a system call.
        self.loop = self.turn.loop
        self._call_in_turn = self.turn.call_soon
        self._transport = transport
        self._drain = drain
        self._limit = limit
        self._timeout = timeout
        self._on_stalled = on_stalled
        self._frames: list[bytes] = []
        self._pending = 0
        self._write_scheduled = False
        self._sealed = False
        #: Whether a frame may be written directly: it is open, and no bytes wait anywhere.
        self._is_direct = False
        #: Bytes given to the transport, and how many of them were taken at the last check.
        self._written = 0
        self._taken = 0
        self._check_timer: asyncio.TimerHandle | None = None

    def send(self, frame: bytes) -> None:
        """Queue one whole frame, or several joined; after `seal` it is dropped.

        Args:
            frame: Bytes made by `frames`, shared with as many other outboxes as wanted.
        """
        if self._sealed:
            return
        self._is_direct = False
        self._frames.append(frame)
        self._pending += len(frame)
        if not self._write_scheduled:
            self._write_scheduled = True
            self._call_in_turn(self._write_queued)
        elif self._pending > self._limit:
            self._stalled()

    def seal(self) -> None:
        """Take no more frames; what is queued is still sent."""
        self._sealed = True
        self._is_direct = False

    def discard(self) -> None:
        """Take no more frames and drop what is queued: the connection is lost."""
        self._sealed = True
        self._is_direct = False
        self._frames.clear()
        self._pending = 0
        if self._check_timer is not None:
            self._check_timer.cancel()
            self._check_timer = None

    @property
    def unsent(self) -> int:
        """Bytes queued, here and in the transport."""
        return self._pending + self._transport.get_write_buffer_size()

    async def wait_for_room(self) -> None:
        """Wait until a stream may send its next chunk.

        Raises:
            ConnectionError: The connection is closed, or was lost meanwhile.
        """
        if self._sealed:
            raise ConnectionResetError("the connection is closed")
        if self._pending < _STREAM_BYTES:
            return
        await asyncio.sleep(0)  # let the queued frames be written, and others run
        await self._drain()

    async def flush(self) -> None:
        """Write what is queued now, not in the loop's next turn."""
        self._write_queued()

    def _write_queued(self) -> None:
        self._write_scheduled = False
        waiting = self._bytes_waiting()
        if waiting is None:
            return
        queued = self._frames
        data = queued[0] if len(queued) == 1 else b"".join(queued)
        queued.clear()
        if waiting == 0 and self._descriptor is not None:
            try:
                sent = os.write(self._descriptor, data)
            except OSError:  # its buffer is full, or it is lost: the transport deals with both
                sent = 0
            self._pending -= sent
            if not self._pending:
                self._is_direct = not self._sealed
                return
            data = data[sent:]
        self._watch(self._pending, waiting)
        self._pending = 0
        self._transport.write(data)

    def _bytes_waiting(self) -> int | None:
        """Return the bytes that the transport holds; None if nothing can be written now."""
        if not self._frames:
            return None
        if self._transport.is_closing():  # uvloop refuses a write then
            self.discard()
            return None
        waiting = self._transport.get_write_buffer_size()
        if waiting + self._pending > self._limit:
            self._stalled()
            return None
        return waiting

    def _watch(self, size: int, waiting: int) -> None:
        """Start or continue checking that the client takes what is about to be written.

        Args:
            size: Bytes about to be written.
            waiting: Bytes that the transport still holds.
        """
        if self._check_timer is None:
            self._taken = self._written - waiting
            self._check_timer = self.loop.call_later(self._timeout, self._check)
        self._written += size

    def _check(self) -> None:
        # One timer per write timeout and active connection, not one per write.
        self._check_timer = None
        waiting = self._transport.get_write_buffer_size()
        if waiting == 0:
            return
        taken = self._written - waiting
        if taken <= self._taken:
            self._stalled()
            return
        self._taken = taken
        self._check_timer = self.loop.call_later(self._timeout, self._check)

    def _stalled(self) -> None:
        self.discard()
        self._on_stalled()


def send_to_all(outboxes: Iterable[Outbox], frame: bytes) -> None:
    """Write a frame to many clients at once; where bytes wait before it, queue it.

    To queue it first would double what writing costs beside its system call. Further frames in the
    same turn of the loop are better queued, and written joined: see `LoopTurn.take_first`.
    """
    size, write = len(frame), os.write
    for outbox in outboxes:
        if not outbox._is_direct or outbox._descriptor is None:  # noqa: SLF001 - a method of many
            outbox.send(frame)
            continue
        try:
            sent = write(outbox._descriptor, frame)  # noqa: SLF001
        except OSError:  # its buffer is full, or it is lost: the transport deals with both
            sent = 0
        if sent < size:
            outbox.send(frame[sent:])


class CompressedOutbox(Outbox):
    """The outbox of a connection that negotiated permessage-deflate (RFC 7692).

    Messages are compressed one by one, in a task that runs only while frames are queued: a large
    one takes several turns of the event loop.

    Args:
        transport: See `Outbox`; so for all the others.
        drain: See `Outbox`.
        limit: See `Outbox`.
        timeout: See `Outbox`.
        on_stalled: See `Outbox`.
        turn: See `Outbox`.
        compressor: Compresses the connection's messages.
    """

    __slots__ = ("_compressor", "_writer")

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        drain: Callable[[], Awaitable[None]],
        *,
        limit: int,
        timeout: float,
        on_stalled: Callable[[], None],
        turn: LoopTurn | None = None,
        compressor: Compressor,
    ) -> None:
        super().__init__(
            transport, drain, limit=limit, timeout=timeout, on_stalled=on_stalled, turn=turn
        )
        self._compressor = compressor
        self._writer: asyncio.Task[None] | None = None

    async def wait_for_room(self) -> None:
        """Wait until a stream may send its next chunk: all before it is compressed and written.

        Raises:
            ConnectionError: The connection was lost meanwhile.
        """
        await super().wait_for_room()
        if self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    async def flush(self) -> None:
        """Compress and write what is queued, and wait until that is done."""
        self._write_queued()
        if self._writer is not None:
            await asyncio.wait([self._writer])

    def _write_queued(self) -> None:
        self._write_scheduled = False
        idle = self._writer is None or self._writer.done()
        if self._bytes_waiting() is not None and idle:
            self._writer = self.loop.create_task(self._write_all())

    async def _write_all(self) -> None:
        while self._frames:
            frame = self._frames.pop(0)
            self._pending -= len(frame)
            try:
                for opcode, payload in frames.split(frame):
                    await self._write(opcode, payload)
            except ConnectionError:  # lost meanwhile: the receiver ends the connection
                self.discard()

    async def _write(self, opcode: int, payload: bytes) -> None:
        if opcode < frames.CLOSE:  # control frames are never compressed
            opcode, payload = opcode | COMPRESSED, await self._compress(payload)
        if self._transport.is_closing():
            raise ConnectionResetError("the connection is lost")
        written = frames.frame(opcode, payload)
        self._watch(len(written), self._transport.get_write_buffer_size())
        self._transport.write(written)
        await self._drain()

    async def _compress(self, payload: bytes) -> bytes:
        add = self._compressor.add
        parts = [add(payload[:_COMPRESSED_PER_TURN])]
        for start in range(_COMPRESSED_PER_TURN, len(payload), _COMPRESSED_PER_TURN):
            await asyncio.sleep(0)  # let others run
            parts.append(add(payload[start : start + _COMPRESSED_PER_TURN]))
        parts.append(self._compressor.end())
        return b"".join(parts)
