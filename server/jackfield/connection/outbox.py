"""The only writer of a socket: whole frames, coalesced per loop tick, bounded in bytes.

uvloop makes one system call per `transport.write`. So frames are collected, and written joined
once per turn of the event loop: straight to the socket while nothing waits before them, which is
a fifth faster than by the transport, and through the transport else. What a client has not taken
yet is counted in bytes, here and in the transport; a client that lets it grow past the limit, or
takes nothing for the write timeout, is cut off. Nothing here waits for a client, so none can delay
another.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from aiohttp import WSMsgType

from jackfield.wire import frames

#: A streaming handler waits once this much is unsent: enough for one full write, and small
#: beside the queue's limit, so that a stream alone never gets its client cut off.
_ROOM: Final = 16 * 1024


class Turn:
    """The event loop's next turn, scheduled once for all who want to be called in it.

    `loop.call_soon` for each outbox would cost as much as the writing of a short frame.
    """

    def __init__(self) -> None:
        #: Kept, as asking asyncio for it costs a system call for each client.
        self.loop = asyncio.get_running_loop()
        self._callbacks: list[Callable[[], None]] = []
        self._asked = False

    def is_first(self) -> bool:
        """Whether nobody has asked this before in the present turn."""
        if self._asked:
            return False
        self._asked = True
        self.call(self._forget)
        return True

    def _forget(self) -> None:
        self._asked = False

    def call(self, callback: Callable[[], None]) -> None:
        """Call this in the next turn; it must not raise for what others could have caused."""
        if not self._callbacks:
            self.loop.call_soon(self._call_all)
        self._callbacks.append(callback)

    def _call_all(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception as exc:  # noqa: BLE001 - the others' turn comes all the same
                self.loop.call_exception_handler({"message": "a write failed", "exception": exc})


class Outbox:
    """Frames on their way to one client.

    Args:
        transport: The connection's transport.
        drain: Waits until the transport's own buffer is below its high-water mark.
        limit: Bytes that may be queued, here and in the transport together.
        timeout: Seconds a client may take nothing at all while something is queued.
        on_stalled: Called once, from the event loop, for a client past either bound.
        turn: Shared with the other outboxes of the loop; one of its own if left out.
        descriptor: The file descriptor of the transport's socket, if that takes the bytes as they
            are, and `discard` is called before it is closed; else None, as with TLS.
    """

    __slots__ = (
        "_call_in_turn",
        "_check_timer",
        "_clear",
        "_descriptor",
        "_drain",
        "_flush_scheduled",
        "_frames",
        "_limit",
        "_on_stalled",
        "_pending",
        "_sealed",
        "_taken",
        "_timeout",
        "_transport",
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
        turn: Turn | None = None,
        descriptor: int | None = None,
    ) -> None:
        self._descriptor = descriptor
        self.turn = Turn() if turn is None else turn
        #: Kept, as asking asyncio for it costs a system call.
        self.loop = self.turn.loop
        self._call_in_turn = self.turn.call
        self._transport = transport
        self._drain = drain
        self._limit = limit
        self._timeout = timeout
        self._on_stalled = on_stalled
        self._frames: list[bytes] = []
        self._pending = 0
        self._flush_scheduled = False
        self._sealed = False
        #: Whether the socket is open and nothing waits before it, here or in the transport.
        self._clear = False
        #: Bytes that were given to the transport, and of those what the client had taken lately.
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
        self._clear = False
        self._frames.append(frame)
        self._pending += len(frame)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._call_in_turn(self._flush)
        elif self._pending > self._limit:
            self._stalled()

    def seal(self) -> None:
        """Take no more frames; what is queued is still sent."""
        self._sealed = True
        self._clear = False

    def discard(self) -> None:
        """Take no more frames and forget what is queued: the connection is gone."""
        self._sealed = True
        self._clear = False
        self._frames.clear()
        self._pending = 0
        if self._check_timer is not None:
            self._check_timer.cancel()
            self._check_timer = None

    @property
    def unsent(self) -> int:
        """Bytes queued, here and in the transport."""
        return self._pending + self._transport.get_write_buffer_size()

    async def room(self) -> None:
        """Wait until a stream may send on.

        Raises:
            ConnectionError: The connection is closed, or was lost meanwhile.
        """
        if self._sealed:
            raise ConnectionResetError("the connection is closed")
        if self._pending < _ROOM:
            return
        await asyncio.sleep(0)  # let the queued flush, and everyone else, have their turn
        await self._drain()

    async def written(self) -> None:
        """Hand all that is queued to the transport now, not at the loop's next turn."""
        self._flush()

    def _flush(self) -> None:
        self._flush_scheduled = False
        waiting = self._bytes_waiting()
        if waiting is None:
            return
        queued = self._frames
        data = queued[0] if len(queued) == 1 else b"".join(queued)
        queued.clear()
        if waiting == 0 and self._descriptor is not None:
            try:
                sent = os.write(self._descriptor, data)
            except OSError:  # full, or gone: the transport knows what to do
                sent = 0
            self._pending -= sent
            if not self._pending:
                self._clear = not self._sealed
                return
            data = data[sent:]
        self._watch(self._pending, waiting)
        self._pending = 0
        self._transport.write(data)

    def _bytes_waiting(self) -> int | None:
        """What the transport holds; None if there is nothing to write, or nobody to write it to."""
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
        """Have it checked that the client takes what is about to be written.

        Args:
            size: Bytes about to be written.
            waiting: Bytes that the transport still holds.
        """
        if self._check_timer is None:
            self._taken = self._written - waiting
            self._check_timer = self.loop.call_later(self._timeout, self._check)
        elif waiting == 0:
            # It owed nothing until now: the next check is too early to be held against it.
            self._taken = self._written - 1
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


def send_to_all(outboxes: "Iterable[Outbox]", frame: bytes) -> None:
    """Write a frame to a great many at once; queue it, as `Outbox.send` does, where others wait.

    Queueing costs each of them as much again as writing does beside its system call. More in the
    same turn of the loop is better queued, and written joined.
    """
    size, write = len(frame), os.write
    for outbox in outboxes:
        if not outbox._clear or outbox._descriptor is None:  # noqa: SLF001 - a method, for many
            outbox.send(frame)
            continue
        try:
            sent = write(outbox._descriptor, frame)  # noqa: SLF001
        except OSError:  # full, or gone: the transport knows what to do
            sent = 0
        if sent < size:
            outbox.send(frame[sent:])


class CompressedOutbox(Outbox):
    """An outbox for a connection that negotiated permessage-deflate (RFC 7692).

    Compressing is aiohttp's: frames go one by one through its `send_frame`, from one task that
    lives only while there are some.
    """

    __slots__ = ("_send_frame", "_writer")

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        drain: Callable[[], Awaitable[None]],
        *,
        limit: int,
        timeout: float,
        on_stalled: Callable[[], None],
        turn: Turn | None = None,
        send_frame: Callable[[bytes, WSMsgType], Awaitable[None]],
    ) -> None:
        super().__init__(
            transport, drain, limit=limit, timeout=timeout, on_stalled=on_stalled, turn=turn
        )
        self._send_frame = send_frame
        self._writer: asyncio.Task[None] | None = None

    async def room(self) -> None:
        """Wait until a stream may send on: here, until all before it is compressed and written.

        Raises:
            ConnectionError: The connection was lost meanwhile.
        """
        await super().room()
        if self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    async def written(self) -> None:
        """Hand all that is queued to the transport: compressed, and so not at once."""
        self._flush()
        if self._writer is not None:
            await asyncio.wait([self._writer])

    def _flush(self) -> None:
        self._flush_scheduled = False
        idle = self._writer is None or self._writer.done()
        if self._bytes_waiting() is not None and idle:
            self._writer = self.loop.create_task(self._write_all())

    async def _write_all(self) -> None:
        while self._frames:
            frame = self._frames.pop(0)
            self._pending -= len(frame)
            self._watch(len(frame), self._transport.get_write_buffer_size())
            try:
                for opcode, payload in frames.split(frame):
                    await self._send_frame(payload, WSMsgType(opcode))
            except ConnectionError:  # lost meanwhile: the reader ends the connection
                self.discard()
