"""How long, and with how many bytes, a client may keep the server waiting for a request.

aiohttp waits an hour for the head of a request, and keeps as much of one as comes. Here that is
bounded: in time, in bytes, and in how many clients there may be that have asked for nothing yet.
When there are too many the one that has waited longest goes: an honest client asks at once, and is
never among those, however many others there are.
"""

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from jackfield.config import LimitSettings
from jackfield.connection.connection import Connection
from jackfield.telemetry.log import SparingLog
from jackfield.wire.close_codes import CloseCode

#: How many times its own size a message takes on the wire, at most: in frames of one byte each it
#: is seven. What has frames of no bytes at all never ends.
_FRAMING: Final = 8
#: Bytes that may be read before any message in them is taken: aiohttp stops reading when 128 KiB
#: of them wait, and the event loop reads up to 256 KiB at once.
_READ_AHEAD: Final = 2**20

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)


class WaitingClients:
    """The clients that are connected and have no request under way.

    Args:
        limits: How many there may be, and how long and how much each may take to ask.
        log: Where to tell whom it cut off.
    """

    def __init__(self, limits: LimitSettings, log: SparingLog) -> None:
        self.limits = limits
        self.log = log
        #: From the one that has waited longest.
        self._waiting: OrderedDict[GuardedHandler, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, peer: "GuardedHandler") -> None:
        """The server waits for a client to ask."""
        self._waiting[peer] = None
        if len(self._waiting) > self.limits.unauthenticated:
            oldest, _ = self._waiting.popitem(last=False)
            oldest.cut_off("too many clients have asked for nothing")

    def leave(self, peer: "GuardedHandler") -> None:
        """A client has asked, or has gone."""
        self._waiting.pop(peer, None)


class GuardedHandler(web.RequestHandler):
    """aiohttp's side of one client, and what guards it.

    Args:
        server: aiohttp's server.
        waiting_clients: Where it is while it has no request under way.
        loop: The event loop.
    """

    __slots__ = ("_activity", "_allowed", "_connection", "_ended", "_received", "_waiting_clients")

    def __init__(
        self, server: web.Server, waiting_clients: WaitingClients, loop: asyncio.AbstractEventLoop
    ) -> None:
        limits = waiting_clients.limits
        options: dict[str, Any] = {
            "access_log": None,
            # Also how long it waits for a first request, and for the rest of a head.
            "keepalive_timeout": limits.header_timeout,
            "max_line_size": limits.header_bytes,
            "max_field_size": limits.header_bytes,
        }
        super().__init__(server, loop=loop, **options)
        self._waiting_clients = waiting_clients
        #: Requests that have ended.
        self._ended = 0
        #: Bytes that have come since then, and how many may before somebody looks what they are.
        self._received = 0
        self._allowed = limits.header_bytes
        self._connection: Connection | None = None
        #: What the connection had done when somebody looked.
        self._activity: object = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; with TLS, and shaken hands."""
        super().connection_made(transport)
        self._waiting_clients.enter(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client has gone; its socket is closed only after this."""
        if self._connection is not None:
            self._connection.outbox.discard()
        self._waiting_clients.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something has come from the client: for all that follows, the way in."""
        super().data_received(data)
        self._received += len(data)
        if self._received > self._allowed:
            self._look()

    def begin_request(self) -> None:
        """The head of a request is there, and is about to be handled."""
        self._waiting_clients.leave(self)

    def end_request(self) -> None:
        """A request has been handled."""
        self._ended += 1
        self._received = 0
        self._allowed = self._waiting_clients.limits.header_bytes
        self._connection = None
        if self.transport is not None:
            self._waiting_clients.enter(self)

    def upgrade(self, connection: Connection) -> None:
        """From now on it is a WebSocket."""
        self._connection = connection
        self._received = 0
        self._allowed = max(_FRAMING * self._waiting_clients.limits.message_bytes, _READ_AHEAD)

    def cut_off(self, reason: str) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self._log(reason)
            self.transport.abort()

    def _look(self) -> None:
        """More has come than is usual."""
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
            self._allowed = sys.maxsize  # the body of a request: its handler reads it, or doesn't
        elif self.transport is not None:
            self._log("the head of its request is too large")
            self.transport.write(_TOO_LARGE)
            self.force_close()

    def _log(self, reason: str) -> None:
        peer = self.peername
        self._waiting_clients.log.info(
            "cut a client off",
            reason=reason,
            peer=peer[0] if peer else "",
            connection=None if self._connection is None else self._connection.id,
        )


@web.middleware
async def count_requests(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Take note of every request, from its head to its end."""
    peer = request.protocol
    if not isinstance(
        peer, GuardedHandler
    ):  # another server than `Site`, which has guards of its own
        return await handler(request)
    peer.begin_request()
    try:
        return await handler(request)
    finally:
        peer.end_request()
