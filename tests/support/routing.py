"""A dispatcher for the plugins of a test, without a node, and messages for it."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, cast

import msgspec

from jackfield import Plugin, Runtime
from jackfield.authoring.services import Services
from jackfield.config import load_settings
from jackfield.connection.connection import Connection
from jackfield.connection.hub import Hub
from jackfield.connection.request import Request
from jackfield.declaration.candidates import Candidate
from jackfield.dispatch.dispatcher import Dispatcher
from jackfield.dispatch.registry import Registry
from jackfield.dispatch.route import Route
from jackfield.dispatch.timeouts import SlowRequests

#: For plugins that neither publish nor call agents.
NO_SERVICES = cast(Services, None)


def runtime(plugin: str, config: Mapping[str, Any] | None = None) -> Runtime:
    return Runtime(plugin, "node", config or {}, NO_SERVICES)


class Routing:
    """The routes of plugins, and a dispatcher for them.

    Args:
        *plugins: The plugins.
        executor: The threads of plain handlers; a pool of one by default.
        **sections: What a configuration file would say.
    """

    def __init__(
        self, *plugins: Plugin, executor: Executor | None = None, **sections: Mapping[str, Any]
    ) -> None:
        self.settings = load_settings(None, {}, sections)
        self.executor = ThreadPoolExecutor(1) if executor is None else executor
        candidates = [Candidate(each.name, "test", "1", _loads(each)) for each in plugins]
        self.registry = Registry(candidates, self.settings.plugins)
        assert self.registry.failed == []
        runtimes = {entry.name: runtime(entry.name, entry.config) for entry in self.registry.loaded}
        self.registry.make_routes(self.settings, runtimes, self.executor)
        self.hub = Hub()
        self.slow_requests = SlowRequests()
        self.dispatcher = Dispatcher(
            self.routes, self.hub, self.slow_requests, self.settings.limits
        )

    @property
    def routes(self) -> dict[str, Route]:
        return self.registry.routes

    def accept(self, connection: Connection, data: bytes) -> Request[Route]:
        """Accept a message that is not refused."""
        request = self.dispatcher.accept(connection, data)
        assert request is not None
        return request

    async def run(self, connection: Connection, data: bytes) -> None:
        """Accept a message, and run its handler in the current task."""
        task = asyncio.current_task()
        assert task is not None
        await self.dispatcher.run(self.accept(connection, data), task)

    def close(self) -> None:
        self.slow_requests.close()
        self.executor.shutdown(wait=False)


def _loads(plugin: Plugin) -> Any:
    return lambda: plugin


def message(message_type: str, message_id: int | str | None = 1, **payload: Any) -> bytes:
    """A message in JSON."""
    envelope: dict[str, Any] = {"type": message_type, "payload": payload}
    if message_id is not None:
        envelope["id"] = message_id
    return msgspec.json.encode(envelope)


async def turns(count: int = 3) -> None:
    """Give everything that is scheduled its turn."""
    for _ in range(count):
        await asyncio.sleep(0)
