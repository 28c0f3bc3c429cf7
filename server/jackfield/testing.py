"""For the tests of plugins: a whole server, on a free port of this machine, for as long as a test.

async def test_it_says_hello():
    async with run_server(greeter) as server, server.connect() as client:
        assert await client.request("greeter.hello", {"name": "Ada"}) == {"greeting": "Hello Ada"}
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from aiohttp import web

from .app import create_app, drain
from .auth import Authenticator
from .client import Client, connect
from .config import load_settings
from .http_api import NODE
from .node import Node
from .plugin import Plugin
from .registry import Candidate, discover
from .site import Site, listening_address, socket_address


class RunningServer:
    """A server that is up.

    Attributes:
        app: Its aiohttp application.
        address: Where it is, as ``http://127.0.0.1:<port>``.
    """

    def __init__(self, app: web.Application, address: str) -> None:
        self.app = app
        self.address = address

    @property
    def url(self) -> str:
        """Where its WebSocket is."""
        return self.address.replace("http", "ws", 1) + "/ws"

    @property
    def node(self) -> Node:
        """Its insides: not public, and not for plugins' tests."""
        return self.app[NODE]

    def connect(self, **options: Any) -> AbstractAsyncContextManager[Client]:
        """A client's connection; see `jackfield.client.connect` for the options."""
        return connect(self.url, **options)


@asynccontextmanager
async def run_server(
    *plugins: Plugin,
    config: Mapping[str, Any] | None = None,
    authenticators: Sequence[Authenticator] | None = None,
) -> AsyncIterator[RunningServer]:
    """Run a server with the built-in message types and these plugins, and nothing else.

    Args:
        *plugins: The plugins under test.
        config: What a configuration file would say, nested as in TOML. By default the server
            brings its own Valkey.
        authenticators: Asked in turn whose a connection is, instead of what ``config`` says.
    """
    settings = load_settings(None, {}, _with_free_port(config or {}))
    built_in = [candidate for candidate in discover() if candidate.distribution == "jackfield"]
    app = create_app(
        settings,
        candidates=[*built_in, *map(_candidate, plugins)],
        authenticators=authenticators,
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await Site(runner, app[NODE].gate, settings.server).start()
        app[NODE].address.set_result(socket_address(runner, settings.server))
        yield RunningServer(app, listening_address(runner, settings.server))
        await drain(app)
    finally:
        await runner.cleanup()


def _candidate(plugin: Plugin) -> Candidate:
    return Candidate(plugin.name, "under-test", "0", lambda: plugin)


def _with_free_port(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, "server": {"port": 0, **config.get("server", {})}}
