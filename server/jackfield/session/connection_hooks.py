"""Run the plugins' hooks for a new connection, and for one that has ended."""

import asyncio
from collections.abc import Callable, Mapping
from functools import cached_property
from operator import attrgetter

from jackfield.authoring.context import Context
from jackfield.authoring.runtime import Runtime
from jackfield.connection.connection import Connection
from jackfield.dispatch.registry import Registry
from jackfield.plugin.hooks import Hook
from jackfield.plugin.plugin import Plugin
from jackfield.telemetry.incidents import report
from jackfield.wire.errors import CONTAINED, Error


class ConnectionHooks:
    """The connection hooks of all plugins of a node.

    Args:
        registry: The plugins.
        runtimes: Each plugin's runtime, by its name.
        timeout: Seconds that one hook may take.
    """

    def __init__(
        self, registry: Registry, runtimes: Mapping[str, Runtime], *, timeout: float
    ) -> None:
        self._registry = registry
        self._runtimes = runtimes
        self._timeout = timeout

    async def connected(self, connection: Connection) -> None:
        """Run every plugin's ``on_connect``.

        Raises:
            Error: A plugin refuses the connection.
        """
        for plugin, hook in self._connect_hooks:
            await self.run(hook, connection, plugin, may_refuse=True)

    async def disconnected(self, connection: Connection) -> None:
        """Run every plugin's ``on_disconnect``; one that fails keeps no other from running."""
        for plugin, hook in self._disconnect_hooks:
            await self.run(hook, connection, plugin, may_refuse=False)

    # Listed at the first connection: until then a plugin may fail to start.

    @cached_property
    def _connect_hooks(self) -> list[tuple[str, Hook]]:
        return self._hooks(attrgetter("connect_hooks"))

    @cached_property
    def _disconnect_hooks(self) -> list[tuple[str, Hook]]:
        return self._hooks(attrgetter("disconnect_hooks"))

    def _hooks(self, of: Callable[[Plugin], list[Hook]]) -> list[tuple[str, Hook]]:
        plugins = self._registry.plugins()
        return [(plugin.name, hook) for _, plugin in plugins for hook in of(plugin)]

    async def run(
        self, hook: Hook, connection: Connection, plugin: str, *, may_refuse: bool
    ) -> None:
        """Run one hook, and contain what it raises.

        Args:
            hook: The hook.
            connection: The connection it is about.
            plugin: The name of the plugin it belongs to.
            may_refuse: Whether to let an `Error` that it raises through.

        Raises:
            Error: The hook refuses the connection, and may.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await hook(Context(connection, self._runtimes[plugin]))
        except CONTAINED as exc:
            if may_refuse and isinstance(exc, Error):
                raise
            report(exc, plugin=plugin, connection=connection.id)
