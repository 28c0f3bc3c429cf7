"""`PluginEntry`: an installed plugin, whether it is loaded, disabled or failed, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from jackfield.config import Problem
from jackfield.declaration.candidates import Candidate
from jackfield.plugin.plugin import Plugin


class PluginState(StrEnum):
    """Whether a plugin runs."""

    LOADED = "loaded"
    DISABLED = "disabled"
    FAILED = "failed"


class Stage(StrEnum):
    """The step at which a plugin failed."""

    IMPORT = "import"
    REGISTER = "register"
    CONFIGURE = "configure"
    START = "start"


@dataclass(slots=True)
class PluginEntry:
    """An installed plugin and its state.

    Attributes:
        candidate: Its entry point.
        state: Whether it runs.
        stage: The step at which it failed, if it did.
        reason: Why it failed, for whoever runs the server.
        problems: The problems of its configuration, if it failed for those.
        plugin: Its declaration, once it is imported.
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
        """Whether it is loaded, and has not failed."""
        return self.state is PluginState.LOADED

    @property
    def source(self) -> str:
        """The distribution and its version."""
        return f"{self.candidate.distribution} {self.candidate.version}".strip()

    def fail(self, stage: Stage, reason: str) -> None:
        """Leave the plugin out.

        Args:
            stage: The step at which it failed.
            reason: Why, for whoever runs the server.
        """
        self.state, self.stage, self.reason = PluginState.FAILED, stage, reason

    @property
    def label(self) -> str:
        """Its name and source, for messages."""
        return f"plugin {self.name!r} of {self.source}"

    def __str__(self) -> str:
        return f"{self.label}: {self.reason}"


class PluginFailures(Exception):  # noqa: N818 - several at once
    """Plugins failed, and the configuration is ``strict``.

    Args:
        entries: The plugins that failed.
    """

    def __init__(self, entries: Iterable[PluginEntry]) -> None:
        self.entries = list(entries)
        super().__init__("\n".join(str(entry) for entry in self.entries))
