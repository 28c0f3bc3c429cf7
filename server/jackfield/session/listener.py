"""Where the server listens: sockets and TLS."""

import asyncio
import ssl
from functools import partial
from typing import Any, Final

import structlog
from aiohttp import web

from jackfield.config import ServerSettings, load_certificate, server_context
from jackfield.connection.connection import CLOSE_TIMEOUT

from .request_heads import GuardedHandler, WaitingClients

_log = structlog.get_logger("jackfield")

#: Connections the kernel holds before they are accepted: a whole node's clients reconnect at once
#: when another node goes.
_BACKLOG: Final = 4096


class Site(web.BaseSite):
    """A TCP port that is listened on, with TLS if there is a certificate.

    Args:
        runner: aiohttp's runner.
        waiting_clients: Where clients are that have no request under way.
        settings: The address and the port, and the files for TLS.

    Raises:
        ValueError: The files are not what they should be.
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
                "ssl_handshake_timeout": self._waiting_clients.limits.header_timeout,
                "ssl_shutdown_timeout": CLOSE_TIMEOUT,
            }
        server = self._runner.server
        assert server is not None  # noqa: S101 - the constructor has seen to it
        self._server = await loop.create_server(
            partial(GuardedHandler, server, self._waiting_clients, loop),
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


def _address(settings: ServerSettings, host: str, port: int) -> str:
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
