"""Listen on a TCP port, with TLS if it is configured."""

import asyncio
import ssl
from functools import partial
from typing import Any, Final

import structlog
from aiohttp import web

from jackfield.config import ServerSettings, load_certificate, server_context
from jackfield.connection.connection import CLOSE_TIMEOUT

from .request_heads import LimitedRequestHandler, WaitingClients

_log = structlog.get_logger("jackfield")

#: Connections that the kernel holds before they are accepted: when another node ends, all its
#: clients reconnect at once.
_BACKLOG: Final = 4096


class Site(web.BaseSite):
    """A TCP port that aiohttp's runner serves, with TLS if there is a certificate.

    Args:
        runner: aiohttp's runner.
        waiting_clients: What bounds the clients that have no request under way.
        settings: The address, the port, and the files for TLS.

    Raises:
        ValueError: The files for TLS can't be used.
    """

    __slots__ = ("_settings", "_waiting_clients", "context")

    def __init__(
        self, runner: web.BaseRunner, waiting_clients: WaitingClients, settings: ServerSettings
    ) -> None:
        self.context: ssl.SSLContext | None = None
        if settings.tls_certificate is not None:
            self.context = server_context(settings.tls_certificate, settings.tls_key)
        super().__init__(runner, ssl_context=self.context, backlog=_BACKLOG)
        self._waiting_clients = waiting_clients
        self._settings = settings

    @property
    def name(self) -> str:
        """The configured address, as a URL."""
        return _url(self._settings, self._settings.host, self._settings.port)

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: The address can't be bound.
        """
        await super().start()
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {}
        if self.context is not None:
            tls = {
                "ssl": self.context,
                "ssl_handshake_timeout": self._waiting_clients.limits.header_timeout,
                "ssl_shutdown_timeout": CLOSE_TIMEOUT,
            }
        server = self._runner.server
        assert server is not None  # noqa: S101 - the constructor has checked it
        self._server = await loop.create_server(
            partial(LimitedRequestHandler, server, self._waiting_clients, loop),
            self._settings.host,
            self._settings.port,
            backlog=self._backlog,
            **tls,
        )

    def reload_certificate(self) -> None:
        """Read the files for TLS again, for new connections; keep the old certificate if they fail.

        Only for a site with TLS.
        """
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        assert self.context is not None and certificate is not None  # noqa: S101, PT018
        try:
            server_context(certificate, key)  # tried on another: a failure would spoil the context
            load_certificate(self.context, certificate, key)
        except ValueError as exc:
            _log.error("the new certificate is of no use; the old one is kept", reason=str(exc))
        else:
            _log.info("the certificate was read anew")


def listening_address(runner: web.BaseRunner, settings: ServerSettings) -> str:
    """Return where a runner's first site listens, as ``http://host:port``."""
    host, port = runner.addresses[0][:2]
    return _url(settings, host, port)


def socket_address(runner: web.BaseRunner, settings: ServerSettings) -> str:
    """Return where a client on this machine finds the WebSocket, as ``ws://host:port/ws``."""
    host, port = runner.addresses[0][:2]
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to be replaced
    return _url(settings, reached, port).replace("http", "ws", 1) + "/ws"


def _url(settings: ServerSettings, host: str, port: int) -> str:
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
