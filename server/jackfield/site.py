"""Where the server listens: sockets, TLS, and how long a client may keep it waiting for a request.

aiohttp waits an hour for the head of a request, and keeps as much of one as comes. Here that is
bounded: in time, in bytes, and in how many clients there may be that have asked for nothing yet.
When there are too many the one that has waited longest goes: an honest client asks at once, and is
never among those, however many others there are.
"""

import asyncio
import ssl
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import structlog
from aiohttp import web

from .config import LimitSettings, ServerSettings, load_certificate, server_context
from .connection import CLOSE_TIMEOUT, Connection
from .errors import CloseCode
from .log import SparingLog

_log = structlog.get_logger("jackfield")

#: Connections the kernel holds before they are accepted: a whole node's clients reconnect at once
#: when another node goes.
_BACKLOG: Final = 4096
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


class Gate:
    """The clients that are connected and have no request under way.

    Args:
        limits: How many there may be, and how long and how much each may take to ask.
        log: Where to tell whom it cut off.
    """

    def __init__(self, limits: LimitSettings, log: SparingLog) -> None:
        self.limits = limits
        self.log = log
        #: From the one that has waited longest.
        self._waiting: OrderedDict[Peer, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, peer: "Peer") -> None:
        """The server waits for a client to ask."""
        self._waiting[peer] = None
        if len(self._waiting) > self.limits.unauthenticated:
            oldest, _ = self._waiting.popitem(last=False)
            oldest.cut_off("too many clients have asked for nothing")

    def leave(self, peer: "Peer") -> None:
        """A client has asked, or has gone."""
        self._waiting.pop(peer, None)


class Peer(web.RequestHandler):
    """aiohttp's side of one client, and what guards it.

    Args:
        server: aiohttp's server.
        gate: Where it is while it has no request under way.
        loop: The event loop.
    """

    __slots__ = ("_activity", "_allowed", "_connection", "_ended", "_gate", "_received")

    def __init__(self, server: web.Server, gate: Gate, loop: asyncio.AbstractEventLoop) -> None:
        limits = gate.limits
        options: dict[str, Any] = {
            "access_log": None,
            # Also how long it waits for a first request, and for the rest of a head.
            "keepalive_timeout": limits.header_timeout,
            "max_line_size": limits.header_bytes,
            "max_field_size": limits.header_bytes,
        }
        super().__init__(server, loop=loop, **options)
        self._gate = gate
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
        self._gate.enter(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client has gone; its socket is closed only after this."""
        if self._connection is not None:
            self._connection.outbox.discard()
        self._gate.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something has come from the client: for all that follows, the way in."""
        super().data_received(data)
        self._received += len(data)
        if self._received > self._allowed:
            self._look()

    def begin_request(self) -> None:
        """The head of a request is there, and is about to be handled."""
        self._gate.leave(self)

    def end_request(self) -> None:
        """A request has been handled."""
        self._ended += 1
        self._received = 0
        self._allowed = self._gate.limits.header_bytes
        self._connection = None
        if self.transport is not None:
            self._gate.enter(self)

    def upgrade(self, connection: Connection) -> None:
        """From now on it is a WebSocket."""
        self._connection = connection
        self._received = 0
        self._allowed = max(_FRAMING * self._gate.limits.message_bytes, _READ_AHEAD)

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
        self._gate.log.info(
            "cut a client off",
            reason=reason,
            peer=peer[0] if peer else "",
            connection=None if self._connection is None else self._connection.id,
        )


@web.middleware
async def at_the_gate(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Let the gate know of every request, from its head to its end."""
    peer = request.protocol
    if not isinstance(peer, Peer):  # another server than `Site`, which has guards of its own
        return await handler(request)
    peer.begin_request()
    try:
        return await handler(request)
    finally:
        peer.end_request()


class Site(web.BaseSite):
    """A TCP port that is listened on, with TLS if there is a certificate.

    Args:
        runner: aiohttp's runner.
        gate: Where clients are that have no request under way.
        settings: The address and the port, and the files for TLS.

    Raises:
        ValueError: The files are not what they should be.
    """

    __slots__ = ("_gate", "_settings", "context")

    def __init__(self, runner: web.BaseRunner, gate: Gate, settings: ServerSettings) -> None:
        self.context: ssl.SSLContext | None = None
        if settings.tls_certificate is not None:
            self.context = server_context(settings.tls_certificate, settings.tls_key)
        super().__init__(runner, ssl_context=self.context, backlog=_BACKLOG)
        self._gate = gate
        self._settings = settings

    @property
    def name(self) -> str:
        """Where it was told to listen."""
        return _address(self._settings, self._settings.host, self._settings.port)

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address can't be bound.
        """
        await super().start()
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {}
        if self.context is not None:
            tls = {
                "ssl": self.context,
                "ssl_handshake_timeout": self._gate.limits.header_timeout,
                "ssl_shutdown_timeout": CLOSE_TIMEOUT,
            }
        server = self._runner.server
        assert server is not None  # noqa: S101 - the constructor has seen to it
        self._server = await loop.create_server(
            partial(Peer, server, self._gate, loop),
            self._settings.host,
            self._settings.port,
            backlog=self._backlog,
            **tls,
        )

    def reload_certificate(self) -> None:
        """Read the files for TLS anew, for the handshakes to come; keep the old if they are wrong.

        The site must have a context.
        """
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        assert self.context is not None and certificate is not None  # noqa: S101, PT018
        try:
            server_context(certificate, key)  # a context is of no use when it has failed to load
            load_certificate(self.context, certificate, key)
        except ValueError as exc:
            _log.error("the new certificate is of no use; the old one is kept", reason=str(exc))
        else:
            _log.info("the certificate was read anew")


def listening_address(runner: web.BaseRunner, settings: ServerSettings) -> str:
    """Where a runner's first site listens, as ``http://host:port``."""
    host, port = runner.addresses[0][:2]
    return _address(settings, host, port)


def socket_address(runner: web.BaseRunner, settings: ServerSettings) -> str:
    """Where a client on this machine finds the WebSocket, as ``ws://host:port/ws``."""
    host, port = runner.addresses[0][:2]
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to be replaced
    return _address(settings, reached, port).replace("http", "ws", 1) + "/ws"


def _address(settings: ServerSettings, host: str, port: int) -> str:
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
