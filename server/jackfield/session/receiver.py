"""The receive loop of one connection, which is also where its in-order handlers run.

A handler that is done at once needs no task of its own and no queue: the loop calls it and reads
on. One that waits must not keep the loop from reading, or a ping would go unanswered, a close
unnoticed and a `request.cancel` unread. So when a request turns out slow (see `timeouts`), a second
reader takes over the socket and queues what is to be handled in order, until the first is free
again. There is one reader at any time, and the order of messages is the order of their handling.
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
from jackfield.telemetry.log import SparingLog
from jackfield.wire import frames
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.protocol import NotUtf8Error

Incoming = WSMessage | WSMessageTextBytes

#: What there may be only so much of; what is not among them ends the connection.
_LIMITED: Final = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG)

_MESSAGE_KIND: Final = {frames.TEXT: WSMsgType.TEXT, frames.BINARY: WSMsgType.BINARY}


class Receiver:
    """Reads one connection's socket until it ends.

    Args:
        socket: Its WebSocket.
        opcode: The kind of frame that its messages are.
        dispatcher: What is done with a message.
        in_flight: Requests that a connection may have under way.
        log: Where to tell of a client that is closed for what it sends.
    """

    __slots__ = (
        "_connection",
        "_dispatcher",
        "_ended",
        "_in_turn",
        "_log",
        "_loop",
        "_message_kind",
        "_queue",
        "_queue_limit",
        "_second_reader",
        "_socket",
        "_starting",
        "last",
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
        log: SparingLog,
    ) -> None:
        self._socket = socket
        self._dispatcher = dispatcher
        self._message_kind = _MESSAGE_KIND[opcode]
        # Half of what may be in flight: the other half is for concurrent requests.
        self._queue_limit = max(1, in_flight // 2)
        self._log = log
        self._in_turn: Request[Route] | None = None
        self._queue: deque[Request[Route]] | None = None  # few connections ever need one
        self._second_reader: asyncio.Task[None] | None = None
        self._ended = False
        # Requests that were started and may not have begun.
        self._starting = 0
        #: What ended the reading: a CLOSE with the client's code, ERROR, or CLOSED.
        self.last: Incoming | None = None

    async def run(self, connection: Connection) -> None:
        """Read, and handle in order what is to be, until the socket ends.

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
                request = self._take(await receive())
                if request is None:
                    continue
                if request.options.concurrent:
                    await self._start(request)
                    continue
                if self._starting:
                    await self._begin_started()
                self._in_turn = request
                await run(request, task)
                self._in_turn = None
                if self._second_reader is not None:
                    await self._catch_up(task)
        finally:
            await self._stop_second_reader()

    async def receive(self) -> Incoming:
        """The next message or control frame, of a client that `run` does not serve yet."""
        return await self._socket.receive()

    def end(self, last: Incoming) -> None:
        """Read no more, as this has ended it."""
        self._ended = True
        self.last = last

    async def _start(self, request: Request[Route]) -> None:
        """Run a request beside others; those of one read begin together, in their order."""
        self._dispatcher.start(request)
        self._starting += 1
        if self._starting >= self._dispatcher.max_starting:
            await self._begin_started()

    async def _begin_started(self) -> None:
        """Let what was started begin, before what comes behind it is handled."""
        self._starting = 0
        await asyncio.sleep(0)

    def _take(self, message: Incoming) -> Request[Route] | None:
        """What is to be run for what came in; None if nothing is."""
        connection = self._connection
        connection.alive = True
        allowance = connection.allowance
        allowance.left -= 1
        if allowance.left < 0 and (wait := allowance.refill(self._loop.time())):
            self._refuse(message, wait)
        elif message.type is not self._message_kind:
            self._control(message)
        elif connection.closing is None:
            try:
                return self._dispatcher.accept(connection, message.data)
            except NotUtf8Error:
                connection.close(CloseCode.INVALID_TEXT)
        return None

    def _refuse(self, message: Incoming, wait: float) -> None:
        """Refuse what is past the limit, which can be had again in so many seconds."""
        connection = self._connection
        if message.type not in _LIMITED:
            self._control(message)
        elif connection.closing is not None:
            pass
        elif connection.is_flooding():
            self._log.info("closed a flooding client", connection=connection.id)
            connection.close(CloseCode.TOO_MANY_REQUESTS)
            self._ended = True  # what it has sent already would take long to throw away
        elif message.type is self._message_kind:
            try:
                self._dispatcher.refuse(connection, message.data, wait)
            except NotUtf8Error:
                connection.close(CloseCode.INVALID_TEXT)

    def _control(self, message: Incoming) -> None:
        """Answer what is not a message, and note what ends the reading."""
        self._connection.control_frames += 1
        if message.type is WSMsgType.PING:
            self._connection.outbox.send(frames.frame(frames.PONG, message.data))
        elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            self._connection.close(CloseCode.UNSUPPORTED_DATA)
        elif message.type is not WSMsgType.PONG:
            self.end(message)

    async def _catch_up(self, task: "asyncio.Task[Any]") -> None:
        """Run what the second reader has queued, and take the socket back from it."""
        while self._queue:
            self._in_turn = request = self._queue.popleft()
            await self._dispatcher.run(request, task)
        self._in_turn = None
        await self._stop_second_reader()

    @property
    def is_reading(self) -> bool:
        """Whether the socket is being read; not while the queue is full."""
        return self._in_turn is None or (
            self._second_reader is not None and not self._second_reader.done()
        )

    def read_on(self, request: RunningRequest) -> None:
        """Start a second reader, if it is this request that the first one waits for."""
        if request is not self._in_turn or self.is_reading or self._ended:
            return
        if self._queue is None:
            self._queue = deque()
        # An earlier second reader may have stopped at a full queue, in which there is room by now.
        if len(self._queue) < self._queue_limit:
            self._second_reader = self._loop.create_task(self._read_meanwhile(self._queue))

    async def _read_meanwhile(self, queue: deque[Request[Route]]) -> None:
        # Stopping at a full queue stops reading: TCP makes the client wait.
        while len(queue) < self._queue_limit:
            request = self._take(await self._socket.receive())
            if self._ended:  # the client is gone: nobody is left to answer
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
