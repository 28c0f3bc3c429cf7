"""`Registry`: the plugins of a server, and the routes and topic families of those that run.

A plugin runs as a whole or not at all. One that fails to import, to register, to be configured or
to start is left out with the reason, and everything else runs without it.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from fnmatch import fnmatchcase
from typing import Any

from jackfield.authoring.runtime import Runtime
from jackfield.config import ConfigError, PluginSettings, Problem, Section, Settings
from jackfield.config.problems import suggest
from jackfield.declaration.candidates import Candidate
from jackfield.declaration.topic_family import TopicFamily
from jackfield.plugin.plugin import Plugin
from jackfield.wire.errors import Error

from .bulkhead import Bulkhead
from .plugin_conflicts import refuse_conflicts
from .plugin_entry import PluginEntry, PluginFailures, PluginState
from .plugin_loading import load_plugin
from .route import Route


class Registry:
    """The plugins of one server.

    Args:
        candidates: The plugins that are installed.
        settings: Which of them are enabled, and each plugin's configuration.

    Raises:
        ConfigError: The configuration names plugins that are not installed.
    """

    def __init__(self, candidates: Iterable[Candidate], settings: PluginSettings) -> None:
        self._settings = settings
        self.entries = [PluginEntry(candidate) for candidate in candidates]
        self.entries.sort(key=lambda entry: (entry.name, entry.source))
        self.routes: dict[str, Route] = {}
        #: The topic families of those that run, by the first word of their patterns.
        self._families: dict[str, list[tuple[PluginEntry, TopicFamily]]] = {}
        self._check_names()
        for entry in self.entries:
            if self._is_enabled(entry.name):
                section = settings.sections.get(entry.name) or Section.empty(entry.name)
                load_plugin(entry, section)
            else:
                entry.state = PluginState.DISABLED
        refuse_conflicts(self.entries)
        for entry, plugin in self.plugins():
            for family in plugin.topics:
                self._families.setdefault(family.pattern.head, []).append((entry, family))

    @property
    def loaded(self) -> list[PluginEntry]:
        """The plugins that run."""
        return [entry for entry in self.entries if entry.is_running]

    @property
    def failed(self) -> list[PluginEntry]:
        """The plugins that were left out because they failed."""
        return [entry for entry in self.entries if entry.state is PluginState.FAILED]

    def plugins(self) -> Iterator[tuple[PluginEntry, Plugin]]:
        """Iterate over the plugins that run, with their declarations."""
        for entry in self.loaded:
            if entry.plugin is not None:
                yield entry, entry.plugin

    def enforce_strictness(self) -> None:
        """Stop here if a plugin has failed and the configuration is strict.

        Raises:
            PluginFailures: So it is.
        """
        if self._settings.strict and self.failed:
            raise PluginFailures(self.failed)

    def make_routes(
        self, settings: Settings, runtimes: Mapping[str, Runtime], executor: Executor
    ) -> None:
        """Make the routes of the plugins that run; after this a message can be handled.

        Args:
            settings: The server's settings.
            runtimes: Each plugin's runtime, by its name.
            executor: The threads that plain functions run in.
        """
        everywhere = [
            (layer, runtimes[plugin.name])
            for _, plugin in self.plugins()
            for layer in plugin.server_middleware
        ]
        for _, plugin in self.plugins():
            runtime = runtimes[plugin.name]
            own = [(layer, runtime) for layer in plugin.own_middleware]
            bulkhead = None if plugin.concurrency is None else Bulkhead(plugin.concurrency)
            for handler in plugin.handlers.values():
                self.routes[handler.type] = Route(
                    handler,
                    runtime,
                    middleware=[*everywhere, *own],
                    bulkhead=bulkhead,
                    default_timeout=settings.limits.handler_timeout,
                    executor=executor,
                    check_replies=settings.server.debug,
                )

    def find_family(self, topic: str) -> tuple[TopicFamily, dict[str, str]] | None:
        """Find the topic family that a topic belongs to, among the plugins that run.

        Args:
            topic: Its name; any text.

        Returns:
            The family, and the values of the pattern's parts; None if there is no such topic.
        """
        for entry, family in self._families.get(topic.partition(":")[0], ()):
            parts = family.pattern.match(topic)
            if parts is not None and entry.is_running:
                return family, parts
        return None

    def describe(self, scopes: frozenset[str], message_type: str | None) -> dict[str, Any]:
        """Describe the message types and topic families that an identity with these scopes may use.

        Args:
            scopes: The identity's scopes.
            message_type: Describe only this one, and no topics.

        Raises:
            Error: ``not_found``: there is no such type, or not for these scopes.
        """
        types = [
            route.description
            for name, route in sorted(self.routes.items())
            if route.scopes <= scopes and message_type in (None, name)
        ]
        if message_type is not None and not types:
            raise Error("not_found", "There is no such message type.")
        if message_type is not None:
            return {"types": types}
        families = [family for _, plugin in self.plugins() for family in plugin.topics]
        families.sort(key=lambda family: str(family.pattern))
        topics = [family.description for family in families if family.scopes <= scopes]
        return {"types": types, "topics": topics}

    def _check_names(self) -> None:
        """Refuse a configuration that names plugins that are not installed."""
        names = sorted({entry.name for entry in self.entries})
        problems = [
            Problem(section.place, f"no plugin {name!r} is installed{suggest(name, names)}")
            for name, section in self._settings.sections.items()
            if name not in names
        ]
        for key, patterns in (
            ("enabled", self._settings.enabled),
            ("disabled", self._settings.disabled),
        ):
            problems += [
                Problem(f"plugins.{key}", f"no plugin {name!r} is installed{suggest(name, names)}")
                for name in patterns
                if not any(mark in name for mark in "*?[") and name not in names
            ]
        if problems:
            raise ConfigError(problems)

    def _is_enabled(self, name: str) -> bool:
        def matches(patterns: Iterable[str]) -> bool:
            return any(fnmatchcase(name, pattern) for pattern in patterns)

        return matches(self._settings.enabled) and not matches(self._settings.disabled)
