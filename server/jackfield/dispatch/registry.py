"""Plugins found by entry point: loaded, refused or contained; routes and topics of those that run.

A plugin is in whole or not at all. One that fails to import, to declare, to configure or to start
is left out with the reason, and everything else goes on without it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

from jackfield.authoring.runtime import Runtime
from jackfield.config import ConfigError, PluginSettings, Problem, Section, Settings
from jackfield.config.problems import suggest
from jackfield.declaration.candidates import Candidate
from jackfield.declaration.topic_family import TopicFamily
from jackfield.plugin.plugin import Plugin
from jackfield.schema.validation import resolve_nested
from jackfield.wire.errors import Error, RegistrationError

from .bulkhead import Bulkhead
from .route import Route

#: The distribution whose plugins win every conflict: clients rely on the built-ins.
_OWN_DISTRIBUTION: Final = "jackfield"


class State(StrEnum):
    """What became of a candidate."""

    LOADED = "loaded"
    DISABLED = "disabled"
    FAILED = "failed"


class Stage(StrEnum):
    """Where a plugin failed."""

    IMPORT = "import"
    REGISTER = "register"
    CONFIGURE = "configure"
    START = "start"


@dataclass(slots=True)
class Entry:
    """A candidate and what became of it.

    Attributes:
        candidate: Where it comes from.
        state: Whether it runs.
        stage: Where it failed, if it did.
        reason: Why, in words for whoever runs the server.
        problems: What is wrong with its configuration, if it is that.
        plugin: What it declares, once it is imported.
        config: Its configuration, once that is loaded.
    """

    candidate: Candidate
    state: State = State.LOADED
    stage: Stage | None = None
    reason: str = ""
    problems: list[Problem] = field(default_factory=list)
    plugin: Plugin | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The entry point's name, which is the plugin's."""
        return self.candidate.name

    @property
    def source(self) -> str:
        """The distribution and its version."""
        return f"{self.candidate.distribution} {self.candidate.version}".strip()

    def fail(self, stage: Stage, reason: str) -> None:
        """Leave it out."""
        self.state, self.stage, self.reason = State.FAILED, stage, reason

    def __str__(self) -> str:
        return f"{_called(self)}: {self.reason}"


class PluginFailures(Exception):  # noqa: N818 - several at once
    """Plugins failed where the configuration says ``strict``.

    Args:
        entries: The plugins that failed.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = list(entries)
        super().__init__("\n".join(str(entry) for entry in self.entries))


class Registry:
    """The plugins of one server.

    Args:
        candidates: What may be loaded.
        settings: Which of it is wanted, and each plugin's configuration.

    Raises:
        ConfigError: The configuration names plugins that aren't there.
    """

    def __init__(self, candidates: Iterable[Candidate], settings: PluginSettings) -> None:
        self._settings = settings
        self.entries = [Entry(candidate) for candidate in candidates]
        self.entries.sort(key=lambda entry: (entry.name, entry.source))
        self.routes: dict[str, Route] = {}
        #: By the first word of their topics' names.
        self._families: dict[str, list[tuple[Entry, TopicFamily]]] = {}
        self._check_names()
        for entry in self.entries:
            self._load(entry)
        self._refuse_conflicts()
        for entry, plugin in self.plugins():
            for family in plugin.topics:
                self._families.setdefault(family.pattern.head, []).append((entry, family))

    @property
    def loaded(self) -> list[Entry]:
        """The plugins that run."""
        return [entry for entry in self.entries if entry.state is State.LOADED]

    @property
    def failed(self) -> list[Entry]:
        """The plugins that were left out because something is wrong with them."""
        return [entry for entry in self.entries if entry.state is State.FAILED]

    def plugins(self) -> Iterator[tuple[Entry, Plugin]]:
        """The plugins that run, with what they declare."""
        for entry in self.loaded:
            if entry.plugin is not None:
                yield entry, entry.plugin

    def enforce_strictness(self) -> None:
        """Raise `PluginFailures` if a plugin has failed and the configuration is strict."""
        if self._settings.strict and self.failed:
            raise PluginFailures(self.failed)

    def resolve(
        self, settings: Settings, runtimes: Mapping[str, Runtime], executor: Executor
    ) -> None:
        """Make the routes of all that run; after this a message can be handled.

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
        """Which of the families that run a topic is of.

        Args:
            topic: Its name; any text.

        Returns:
            The family, and the parts of the name by their names; None if there is no such topic.
        """
        for entry, family in self._families.get(topic.partition(":")[0], ()):
            parts = family.pattern.match(topic)
            if parts is not None and entry.state is State.LOADED:
                return family, parts
        return None

    def describe(self, scopes: frozenset[str], message_type: str | None) -> dict[str, Any]:
        """The message types that an identity with these scopes may use, and the kinds of topics.

        Args:
            scopes: The identity's scopes.
            message_type: Only this one, and no topics.

        Raises:
            Error: ``not_found``: there is none, or none for these scopes.
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
        """Refuse a configuration that speaks of plugins that aren't there: it is a slip."""
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

    def _wanted(self, name: str) -> bool:
        def matches(patterns: Iterable[str]) -> bool:
            return any(fnmatchcase(name, pattern) for pattern in patterns)

        return matches(self._settings.enabled) and not matches(self._settings.disabled)

    def _load(self, entry: Entry) -> None:
        if not self._wanted(entry.name):
            entry.state = State.DISABLED
            return
        try:
            loaded = entry.candidate.load()
        except RegistrationError as exc:
            entry.fail(Stage.REGISTER, str(exc))
            return
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - a module may fail in any way
            entry.fail(Stage.IMPORT, f"it can't be imported: {type(exc).__name__}: {exc}")
            return
        if not isinstance(loaded, Plugin):
            entry.fail(
                Stage.REGISTER,
                f"its entry point must name a Plugin, not {type(loaded).__name__}: write "
                f"'{entry.name} = module:plugin'",
            )
        elif loaded.name != entry.name:
            entry.fail(
                Stage.REGISTER,
                f"its entry point is named {entry.name!r} and its Plugin {loaded.name!r}: give "
                "both one name",
            )
        else:
            entry.plugin = loaded
            _check_schemas(entry, loaded)
            if entry.state is State.LOADED:
                self._configure(entry, loaded)

    def _configure(self, entry: Entry, plugin: Plugin) -> None:
        section = self._settings.sections.get(entry.name) or Section.empty(entry.name)
        try:
            entry.config = section.load(plugin.config_schema)
        except ConfigError as exc:
            entry.problems = exc.problems
            entry.fail(Stage.CONFIGURE, "; ".join(str(problem) for problem in exc.problems))
        except Exception as exc:  # noqa: BLE001 - a schema's own code may raise anything
            entry.fail(
                Stage.CONFIGURE, f"its configuration failed to load: {type(exc).__name__}: {exc}"
            )

    def _refuse_conflicts(self) -> None:
        """Leave out plugins that share what only one can have: which is meant can't be told."""
        claims: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
        for entry in self.entries:
            if entry.state is not State.DISABLED:
                claims["name", entry.name].append(entry)
        for entry, plugin in self.plugins():
            for message_type in plugin.handlers:
                claims["message type", message_type].append(entry)
            for page in plugin.pages:
                claims["page", page.path].append(entry)
        families = [(entry, family) for entry, plugin in self.plugins() for family in plugin.topics]
        for (what, value), entries in claims.items():
            for entry in entries:
                others = [_called(other) for other in entries if other is not entry]
                _refuse(entry, f"the {what} {value!r} is also declared by", others, _CURES[what])
        for entry, family in families:
            others = [
                f"{str(rival.pattern)!r} of {_called(other)}"
                for other, rival in families
                if other is not entry and rival.pattern.overlaps(family.pattern)
            ]
            _refuse(entry, f"{family} overlaps", others, _CURES["topic"])


#: What to do about a conflict. Plugins of one name can't be told apart under [plugins].
_CURES: Final = {
    "name": "uninstall one",
    "message type": "rename one, or name one plugin under [plugins] disabled",
    "page": "move one, or name one plugin under [plugins] disabled",
    "topic": "rename one, or name one plugin under [plugins] disabled",
}


def _refuse(entry: Entry, conflict: str, others: list[str], cure: str) -> None:
    """Leave a plugin out for its conflict with others, if there are any."""
    if not others or entry.candidate.distribution == _OWN_DISTRIBUTION:
        return
    if entry.state is not State.FAILED:  # a first reason is kept
        entry.fail(Stage.REGISTER, f"{conflict} {' and '.join(others)}: {cure}")


def _called(entry: Entry) -> str:
    return f"plugin {entry.name!r} of {entry.source}"


def _check_schemas(entry: Entry, plugin: Plugin) -> None:
    """Refuse a schema that nests one that isn't there; at a message it would be too late."""
    handlers = plugin.handlers.values()
    schemas = [
        *((f"a schema of {handler.type!r}", handler.schema) for handler in handlers),
        *((f"a schema of {handler.type!r}", handler.reply) for handler in handlers),
        *((f"the event of {family}", family.event) for family in plugin.topics),
    ]
    for what, schema in schemas:
        try:
            if schema is not None:
                resolve_nested(schema)
        except Exception as exc:  # noqa: BLE001 - a nested schema may be a plugin's function
            entry.fail(Stage.REGISTER, f"{what} nests one that can't be had: {exc}")
