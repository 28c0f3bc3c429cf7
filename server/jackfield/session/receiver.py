"""The receive loop of one connection, which is also where its in-order handlers run.

A handler that is done at once needs neither a task of its own nor a queue: the loop calls it and
reads on. One that waits must not keep the loop from reading, or a ping would go unanswered, a close
unnoticed and a `request.cancel` unread. So when a request turns out slow (see `timeouts`), a second
reader takes over the socket, in a task of its own, and queues what is to be handled in order, until
the loop is free again. Only one of them reads at any time, and messages are handled in order.
"""

import asyncio
from collections import deque
from typing import Any, Final

from aiohttp import WSMessage, WSMsgType
from aiohttp.http_websocket import WSMessageTextBytes

from jackfield.connection.connection import Connection
from jackfield.connection.request import Request
from jackfield.connection.running import RunningRequest
from jackfield.connection.websocket import Socket
from jackfield.dispatch.dispatcher import Dispatcher
from jackfield.dispatch.route import Route
from jackfield.telemetry.log import RateLimitedLog
from jackfield.wire import frames
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.protocol import NotUtf8Error

Incoming = WSMessage | WSMessageTextBytes

#: The kinds of frames that count against the rate limit; any other ends the connection.
_RATE_LIMITED: Final = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG)

_MESSAGE_KIND: Final = {frames.TEXT: WSMsgType.TEXT, frames.BINARY: WSMsgType.BINARY}


class Receiver:
    """Reads one connection's socket until it ends.

    Args:
        socket: Its WebSocket.
        opcode: The kind of frame that its messages come in.
        dispatcher: What handles a message.
        in_flight: Requests that a connection may have running.
        log: Where to log that a client is closed for flooding.
    """

    __slots__ = (
        "_connection",
        "_current",
        "_dispatcher",
        "_ended",
        "_log",
        "_loop",
        "_message_kind",
        "_queue",
        "_queue_limit",
        "_second_reader",
        "_socket",
        "_starting",
        "ended_by",
    )

    _connection: Connection
    _loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        socket: Socket,
        opcode: int,
        dispatcher: Dispatcher,
        *,
        in_flight: int,
        log: RateLimitedLog,
    ) -> None:
        self._socket = socket
        self._dispatcher = dispatcher
        self._message_kind = _MESSAGE_KIND[opcode]
        # Half of what may be in flight: the other half is for concurrent requests.
        self._queue_limit = max(1, in_flight // 2)
        self._log = log
        #: The request whose in-order handler runs, or was the last to.
        self._current: Request[Route] | None = None
        self._queue: deque[Request[Route]] | None = None  # few connections ever need one
        self._second_reader: asyncio.Task[None] | None = None
        self._ended = False
        #: Requests that have a task of their own, which may not have begun.
        self._starting = 0
        #: The frame that ended the reading: CLOSE with the client's code, ERROR, or CLOSED.
        self.ended_by: Incoming | None = None

    async def run(self, connection: Connection) -> None:
        """Read, and handle messages, until the socket ends.

        Args:
            connection: The socket's connection.
        """
        self._connection = connection
        self._loop = connection.loop
        receive = self._socket.receive
        run = self._dispatcher.run
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 - this runs in one
        try:
            while not self._ended:
                request = self._accept(await receive())
                if request is None:
                    continue
                if request.options.concurrent:
                    await self._start(request)
                    continue
                if self._starting:
                    await self._let_started_begin()
                self._current = request
                await run(request, task)
                self._current = None
                if self._second_reader is not None:
                    await self._catch_up(task)
        finally:
            await self._stop_second_reader()

    async def receive(self) -> Incoming:
        """Return the next message or control frame; only before `run`."""
        return await self._socket.receive()

    def end(self, last: Incoming) -> None:
        """Read no more, because of this frame."""
        self._ended = True
        self.ended_by = last

    async def _start(self, request: Request[Route]) -> None:
        """Run a request beside others; those that came together begin together, in order."""
        self._dispatcher.start(request)
        self._starting += 1
        if self._starting >= self._dispatcher.max_starting:
            await self._let_started_begin()

    async def _let_started_begin(self) -> None:
        """Let requests that were started begin, before the next message is handled."""
        self._starting = 0
        await asyncio.sleep(0)

    def _accept(self, message: Incoming) -> Request[Route] | None:
        """Return the request to run for a frame; None if there is none."""
        connection = self._connection
        connection.alive = True
        allowance = connection.allowance
        allowance.left -= 1
        if allowance.left < 0 and (wait := allowance.refill(self._loop.time())):
            self._refuse(message, wait)
        elif message.type is not self._message_kind:
            self._handle_control_frame(message)
        elif connection.closing is None:
            try:
                return self._dispatcher.accept(connection, message.data)
            except NotUtf8Error:
                connection.close(CloseCode.INVALID_TEXT)
        return None

    def _refuse(self, message: Incoming, wait: float) -> None:
        """Refuse a frame past the rate limit.

        Args:
            message: The frame.
            wait: Seconds until another is accepted.
        """
        connection = self._connection
        if message.type not in _RATE_LIMITED:
            self._handle_control_frame(message)
        elif connection.closing is not None:
            pass
        elif connection.count_refusal():
            self._log.info("closed a flooding client", connection=connection.id)
            connection.close(CloseCode.TOO_MANY_REQUESTS)
            self._ended = True  # to read and drop what it has sent already would take long
        elif message.type is self._message_kind:
            try:
                self._dispatcher.refuse(connection, message.data, wait)
            except NotUtf8Error:
                connection.close(CloseCode.INVALID_TEXT)

    def _handle_control_frame(self, message: Incoming) -> None:
        """Handle a frame that is no message of this connection's encoding."""
        self._connection.control_frames += 1
        if message.type is WSMsgType.PING:
            self._connection.outbox.send(frames.frame(frames.PONG, message.data))
        elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            self._connection.close(CloseCode.UNSUPPORTED_DATA)
        elif message.type is not WSMsgType.PONG:
            self.end(message)

    async def _catch_up(self, task: "asyncio.Task[Any]") -> None:
        """Run the requests that the second reader has queued, and take the socket back."""
        while self._queue:
            self._current = request = self._queue.popleft()
            await self._dispatcher.run(request, task)
        self._current = None
        await self._stop_second_reader()

    @property
    def is_reading(self) -> bool:
        """Whether the socket is being read; not while the queue is full."""
        return self._current is None or (
            self._second_reader is not None and not self._second_reader.done()
        )

    def keep_reading(self, request: RunningRequest) -> None:
        """Start a second reader, if this is the request that `run` waits for."""
        if request is not self._current or self.is_reading or self._ended:
            return
        if self._queue is None:
            self._queue = deque()
        # An earlier second reader may have stopped at a full queue, in which there is room by now.
        if len(self._queue) < self._queue_limit:
            self._second_reader = self._loop.create_task(self._read_meanwhile(self._queue))

    async def _read_meanwhile(self, queue: deque[Request[Route]]) -> None:
        # At a full queue nobody reads, and TCP makes the client wait.
        while len(queue) < self._queue_limit:
            request = self._accept(await self._socket.receive())
            if self._ended:  # the client has left: nobody is there to be answered
                self._connection.stop_requests(Error("cancelled"))
                return
            if request is None:
                continue
            if request.options.concurrent:
                await self._start(request)
            else:
                queue.append(request)

    async def _stop_second_reader(self) -> None:
        reader, self._second_reader = self._second_reader, None
        if reader is None:
            return
        reader.cancel()
        await asyncio.wait([reader])
        if not reader.cancelled() and (exc := reader.exception()) is not None:
            raise exc
