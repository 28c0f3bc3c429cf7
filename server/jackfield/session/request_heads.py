"""Bound what a client may send before a request is there: in time, in bytes, and in clients.

aiohttp waits an hour for the head of a request, and buffers as much of one as comes. Here both are
bounded, and so is the number of clients that have no request under way. When there are too many,
the one that has waited longest is cut off: an honest client sends its request at once, and is never
that one.
"""

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_websocket import WebSocketReader

from jackfield.config import LimitSettings
from jackfield.connection.connection import Connection
from jackfield.telemetry.incidents import report
from jackfield.telemetry.log import RateLimitedLog
from jackfield.wire.client_frames import FrameCheck, FrameReader
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.deflated_frames import DeflatedFrames
from jackfield.wire.errors import Error
from jackfield.wire.problem import problem, problem_body, problem_of

from .inflation import InflatingReader, Inflation

#: How many times its own size a message takes on the wire, at most. In frames of one byte each it
#: is seven; more are only empty frames, of which there could be any number.
_FRAMING: Final = 8
#: Bytes that may be received before a message in them is read: aiohttp pauses reading when 128 KiB
#: wait, and the event loop reads up to 256 KiB at once.
_READ_AHEAD: Final = 2**20

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"Content-Type: application/problem+json\r\nX-Content-Type-Options: nosniff\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)


#: What clients cause, by breaking HTTP or leaving; with it aiohttp ends a connection.
_OF_CLIENTS: Final = (HttpProcessingError, web.RequestPayloadError, ConnectionError)


class WaitingClients:
    """The clients that are connected and have no request under way.

    Args:
        limits: How many there may be, and how long and how large the head of a request may be.
        log: Where to log that a client is cut off.
    """

    def __init__(self, limits: LimitSettings, log: RateLimitedLog) -> None:
        self.limits = limits
        self.log = log
        #: The one that has waited longest first.
        self._waiting: OrderedDict[LimitedRequestHandler, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, client: "LimitedRequestHandler") -> None:
        """Begin to wait for a client's request."""
        self._waiting[client] = None
        if len(self._waiting) > self.limits.unauthenticated:
            oldest, _ = self._waiting.popitem(last=False)
            oldest.cut_off("too many clients have asked for nothing")

    def leave(self, client: "LimitedRequestHandler") -> None:
        """Stop waiting for a client: its request is there, or it has left."""
        self._waiting.pop(client, None)


class LimitedRequestHandler(web.RequestHandler):
    """aiohttp's protocol of one client, with limits on what it receives.

    Args:
        server: aiohttp's server.
        waiting_clients: What bounds the clients that have no request under way.
        loop: The event loop.
    """

    __slots__ = (
        "_activity",
        "_allowed",
        "_connection",
        "_deflated",
        "_ended",
        "_frames",
        "_inflating",
        "_received",
        "_waiting_clients",
    )

    def __init__(
        self, server: web.Server, waiting_clients: WaitingClients, loop: asyncio.AbstractEventLoop
    ) -> None:
        limits = waiting_clients.limits
        options: dict[str, Any] = {
            "access_log": None,
            # A body is inflated by who reads it, with a bound: most are not read at all.
            "auto_decompress": False,
            # aiohttp also bounds by it the wait for a first request, and for the rest of its head.
            "keepalive_timeout": limits.header_timeout,
            "max_line_size": limits.header_bytes,
            "max_field_size": limits.header_bytes,
        }
        super().__init__(server, loop=loop, **options)
        self._waiting_clients = waiting_clients
        #: Requests that have ended.
        self._ended = 0
        #: Bytes received since then, and how many may be before `_check_received`.
        self._received = 0
        self._allowed = limits.header_bytes
        self._connection: Connection | None = None
        #: The connection's `activity` at the last `_check_received`.
        self._activity: object = None
        #: What takes the received bytes once the request became a WebSocket.
        self._frames: FrameReader | None = None
        self._deflated: tuple[DeflatedFrames, Inflation] | None = None
        self._inflating: InflatingReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request: the client has connected, and finished the handshake of TLS."""
        super().connection_made(transport)
        self._waiting_clients.enter(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the client, whose socket is closed only after this."""
        if self._connection is not None:
            self._connection.outbox.discard()
        self._waiting_clients.leave(self)
        super().connection_lost(exc)

    def inflate(self, frames: DeflatedFrames, inflation: Inflation) -> None:
        """Inflate the frames of the WebSocket that the request is about to become.

        Args:
            frames: The frames of the client.
            inflation: What bounds how much is inflated in a turn.
        """
        self._deflated = (frames, inflation)

    def set_parser(
        self, parser: WebSocketReader, data_received_cb: Callable[[], None] | None = None
    ) -> None:
        """Read frames from now on, which are checked, and inflated, before aiohttp's reader."""
        if self._deflated is None:
            self._frames = FrameCheck(parser)
        else:
            assert self.transport is not None  # noqa: S101 - `prepare` has looked
            self._frames = self._inflating = InflatingReader(
                parser, *self._deflated, self.transport
            )
        super().set_parser(self._frames, data_received_cb)  # type: ignore[arg-type] # no more is used

    def pause_reading(self) -> None:
        """Read no more: too many messages wait."""
        if self._inflating is not None:
            self._inflating.stop()
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's
        """Read on."""
        super().resume_reading(resume_parser)
        if self._inflating is not None:
            self._inflating.go_on()

    def data_received(self, data: bytes) -> None:
        """Hand received bytes to aiohttp, and count them."""
        if self._frames is None:
            super().data_received(data)
        else:  # past aiohttp's own `data_received`, which would only ask again what they are
            self._frames.feed_data(data)
        self._received += len(data)
        if self._received > self._allowed:
            self._check_received()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes the client
    ) -> web.StreamResponse:
        """Answer what is no HTTP request, or ended in a fault, with a problem; close behind it."""
        if status == web.HTTPGatewayTimeout.status_code:
            error = Error("timeout")
        elif status >= web.HTTPInternalServerError.status_code and exc is not None:
            error = report(exc, path=request.path)
        else:  # what it says quotes the client, and any stranger can send it
            self._log("it has sent what is no HTTP request")
            error = Error("invalid_message", "This is no HTTP request.")
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way already")
        response = problem(error, status)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer: where aiohttp's own would be plain text, a problem."""
        if isinstance(resp, web.HTTPException) and resp.status >= web.HTTPBadRequest.status_code:
            resp = problem_of(resp)
        return await super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what aiohttp could not handle: shortly if the client has caused it."""
        exc = kw.get("exc_info")
        if isinstance(exc, Exception) and not isinstance(exc, _OF_CLIENTS):
            report(exc)
        else:  # its words may quote the client
            self._log(str(args[0]), error=type(exc).__name__)

    def begin_request(self) -> None:
        """Note that the head of a request is there, and is about to be handled."""
        self._waiting_clients.leave(self)

    def end_request(self) -> None:
        """Note that a request has been handled, and wait for the next."""
        self._ended += 1
        self._received = 0
        self._allowed = self._waiting_clients.limits.header_bytes
        self._connection = None
        if self.transport is not None:
            self._waiting_clients.enter(self)

    def upgrade(self, connection: Connection) -> None:
        """Note that the request became a WebSocket."""
        self._connection = connection
        self._received = 0
        self._allowed = max(_FRAMING * self._waiting_clients.limits.message_bytes, _READ_AHEAD)

    def cut_off(self, reason: str) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self._log(reason)
            self.transport.abort()

    def _check_received(self) -> None:
        """Decide what becomes of a client that has sent more than is expected."""
        connection = self._connection
        if connection is not None:
            if connection.activity != self._activity:
                self._activity = connection.activity
                self._received = 0
            elif connection.closing is None:
                connection.close(CloseCode.MESSAGE_TOO_BIG)
                self._received = 0
            else:
                self.cut_off("it sends on after it was closed")
        elif self._request_count > self._ended:
            self._allowed = sys.maxsize  # the body of a request: bounded by what its handler reads
        elif self.transport is not None:
            self._log("the head of its request is too large")
            body = problem_body(Error("too_large", "The head of the request is too large."), 431)
            self.transport.write(_TOO_LARGE % (len(body), body))
            self.force_close()

    def _log(self, reason: str, **more: str) -> None:
        peer = self.peername
        self._waiting_clients.log.info(
            "cut a client off",
            reason=reason,
            peer=peer[0] if peer else "",
            connection=None if self._connection is None else self._connection.id,
            **more,
        )


@web.middleware
async def track_requests(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Note the begin and the end of every request, for the limits of its client."""
    client = request.protocol
    if not isinstance(client, LimitedRequestHandler):  # served by another server than `Site`
        return await handler(request)
    client.begin_request()
    try:
        return await handler(request)
    finally:
        client.end_request()
