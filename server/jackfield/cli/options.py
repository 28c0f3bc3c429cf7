"""What several commands share: the option for the configuration, reading it, and their help."""

import contextlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from jackfield.config import ConfigError, PluginSettings, Problem, Settings, load_settings
from jackfield.config.sources import OVERRIDE
from jackfield.declaration.candidates import discover
from jackfield.dispatch.registry import Registry
from jackfield.telemetry import log

from .terminal import Failure

config_option = click.option(
    "-c",
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The configuration, a TOML file; without one, the defaults. Variables such as "
    "JACKFIELD__SERVER__PORT override it.",
)


def epilog(examples: Iterable[str], exit_codes: Mapping[int, str]) -> str:
    r"""Return the end of a command's help; ``\b`` keeps click from joining the lines."""
    lines = ["\b", "Examples:", *(f"  {example}" for example in examples)]
    lines += ["", "\b", "Exit codes:"]
    lines += [f"  {code:<4} {meaning}" for code, meaning in exit_codes.items()]
    return "\n".join(lines)


def read_settings(config: Path | None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read the configuration, and set up logging by it.

    Args:
        config: The file, None for the defaults.
        flags: Options of the command line that override it, nested as in TOML.

    Raises:
        Failure: The configuration is not valid; it lists all problems.
    """
    try:
        settings = load_settings(config, overrides=flags)
    except ConfigError as exc:
        raise not_valid(exc) from exc
    log.configure(settings.logging)
    return settings


def not_valid(error: ConfigError) -> Failure:
    """Return the failure of a command whose configuration is not valid."""
    return Failure("The configuration is not valid.", *map(describe, error.problems))


def describe(problem: Problem) -> str:
    """Return a problem and its place, on one line."""
    where = "command line" if problem.where == OVERRIDE else problem.where
    return f"{where}: {problem.message}"


def load_plugins(settings: PluginSettings) -> Registry:
    """Import and configure the plugins, as the server does before it starts them.

    Whatever plugins print while they are imported goes to standard error.

    Raises:
        ConfigError: The configuration names plugins that are not installed.
    """
    with contextlib.redirect_stdout(sys.stderr):
        return Registry(discover(), settings)
