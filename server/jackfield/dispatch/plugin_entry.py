"""What became of a plugin that is installed: loaded, disabled or failed, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from jackfield.config import Problem
from jackfield.declaration.candidates import Candidate
from jackfield.plugin.plugin import Plugin


class PluginState(StrEnum):
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
class PluginEntry:
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
    state: PluginState = PluginState.LOADED
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
    def is_running(self) -> bool:
        """Whether it is loaded, and nothing has been found wrong with it."""
        return self.state is PluginState.LOADED

    @property
    def source(self) -> str:
        """The distribution and its version."""
        return f"{self.candidate.distribution} {self.candidate.version}".strip()

    def fail(self, stage: Stage, reason: str) -> None:
        """Leave it out."""
        self.state, self.stage, self.reason = PluginState.FAILED, stage, reason

    def __str__(self) -> str:
        return f"{called(self)}: {self.reason}"


class PluginFailures(Exception):  # noqa: N818 - several at once
    """Plugins failed where the configuration says ``strict``.

    Args:
        entries: The plugins that failed.
    """

    def __init__(self, entries: Iterable[PluginEntry]) -> None:
        self.entries = list(entries)
        super().__init__("\n".join(str(entry) for entry in self.entries))


def called(entry: PluginEntry) -> str:
    """What to call a plugin in words."""
    return f"plugin {entry.name!r} of {entry.source}"
