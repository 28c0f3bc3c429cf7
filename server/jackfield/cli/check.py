"""``jackfield check``: find all problems of a configuration and its plugins at once."""

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import filter as matching
from pathlib import Path

import click
from rich.text import Text

from jackfield.auth.loading import load_authenticators
from jackfield.config import (
    ConfigError,
    LoggingSettings,
    PluginSettings,
    load_plugin_settings,
    load_settings,
)
from jackfield.declaration.candidates import discover
from jackfield.dispatch.plugin_entry import PluginEntry
from jackfield.dispatch.registry import Registry
from jackfield.telemetry import log

from .options import config_option, describe, epilog, load_plugins
from .terminal import FAILED, count, err, one_line, out


@click.command(
    "check",
    epilog=epilog(
        ["jackfield check", "jackfield check --config jackfield.toml"],
        {0: "no problems", 1: "problems were found", 2: "wrong usage"},
    ),
)
@config_option
@click.pass_context
def command(context: click.Context, config: Path | None) -> None:
    """Check a configuration and its plugins.

    All problems are found at once, and printed one on a line, each after the place where it can be
    fixed. The plugins are imported and configured, but not started. A plugin that would be left out
    is a problem here, even if plugins.strict is false.
    """
    log.configure(LoggingSettings(format="auto", level="warning"))
    problems, registry = _check(config)
    for problem in problems:
        out.print(Text(one_line(problem)), soft_wrap=True)
    if problems or registry is None:
        err.print(Text(f"{count(problems, 'problem')}.", style="bold red"))
        context.exit(FAILED)
    types = [name for _, plugin in registry.plugins() for name in plugin.handlers]
    summary = f"{count(registry.loaded, 'plugin')} with {count(types, 'message type')}"
    subject = "The defaults are" if config is None else f"{config} is"
    out.print(Text(f"{subject} fine: {summary}.", style="green"), soft_wrap=True)


def _check(config: Path | None) -> tuple[list[str], Registry | None]:
    """Return all problems, and the plugins unless it is unknown which are enabled."""
    problems: list[str] = []
    try:
        load_authenticators(load_settings(config))
    except ConfigError as exc:
        problems += map(describe, exc.problems)
    try:
        settings = load_plugin_settings(config)
    except ConfigError:  # found above: the file can't be read, or [plugins] itself is wrong
        return problems, None
    try:
        registry = load_plugins(settings)
    except ConfigError as exc:
        problems += map(describe, exc.problems)
        registry = load_plugins(_without_absent(settings))
    for entry in registry.failed:
        problems += _of_plugin(entry)
    return problems, registry


def _without_absent(settings: PluginSettings) -> PluginSettings:
    """Return the settings without those of plugins that are not installed, to check the others."""
    names = {candidate.name for candidate in discover()}
    return replace(
        settings,
        enabled=tuple(pattern for pattern in settings.enabled if matching(names, pattern)),
        disabled=tuple(pattern for pattern in settings.disabled if matching(names, pattern)),
        sections={name: section for name, section in settings.sections.items() if name in names},
    )


def _of_plugin(entry: PluginEntry) -> Iterator[str]:
    """What is wrong with a plugin: line by line if it is about its configuration."""
    if entry.problems:
        yield from map(describe, entry.problems)
    else:
        yield str(entry)
