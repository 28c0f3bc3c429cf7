"""A whole server for the tests of plugins, on a free port of this machine.

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
from .declaration.candidates import Candidate, discover
from .node import NODE, Node
from .plugin.plugin import Plugin
from .session.listener import Site, listening_address, socket_address


class RunningServer:
    """A running server.

    Attributes:
        app: Its aiohttp application.
        address: Its address, as ``http://127.0.0.1:<port>``.
    """

    def __init__(self, app: web.Application, address: str) -> None:
        self.app = app
        self.address = address

    @property
    def url(self) -> str:
        """The address of its WebSocket."""
        return self.address.replace("http", "ws", 1) + "/ws"

    @property
    def node(self) -> Node:
        """The parts of the server, for its own tests: not public."""
        return self.app[NODE]

    def connect(self, **options: Any) -> AbstractAsyncContextManager[Client]:
        """Connect a client; see `jackfield.client.connect` for the options."""
        return connect(self.url, **options)


@asynccontextmanager
async def run_server(
    *plugins: Plugin,
    config: Mapping[str, Any] | None = None,
    authenticators: Sequence[Authenticator] | None = None,
) -> AsyncIterator[RunningServer]:
    """Run a server while an `async with` lasts, with the built-in plugins and these.

    Args:
        *plugins: The plugins under test.
        config: The configuration, nested as in TOML. By default the server starts an embedded
            Valkey.
        authenticators: What authenticates clients, asked in turn, instead of what ``config`` says.
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
        await Site(runner, app[NODE].waiting_clients, settings.server).start()
        app[NODE].address.set_result(socket_address(runner, settings.server))
        yield RunningServer(app, listening_address(runner, settings.server))
        await drain(app)
    finally:
        await runner.cleanup()


def _candidate(plugin: Plugin) -> Candidate:
    return Candidate(plugin.name, "under-test", "0", lambda: plugin)


def _with_free_port(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, "server": {"port": 0, **config.get("server", {})}}
