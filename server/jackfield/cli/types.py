"""``jackfield types``: write the types of messages and events for a frontend's compiler."""

import shlex
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Any, Final

import click
from marshmallow import Schema
from rich.text import Text

from jackfield.config import ConfigError
from jackfield.dispatch.registry import Registry
from jackfield.plugin.handler import HandlerKind
from jackfield.plugin.plugin import Plugin
from jackfield.schema.json_schema import json_schema
from jackfield.schema.typescript import MessageType, PluginTypes, TopicTypes, typescript

from .options import config_option, epilog, load_plugins, not_valid, read_settings
from .terminal import Failure, count, one_line, out

_STDOUT: Final = Path("-")


@click.command(
    "types",
    epilog=epilog(
        [
            "jackfield types --typescript --output src/messages.d.ts",
            "jackfield types --typescript --output src/messages.d.ts --check",
        ],
        {
            0: "written; with --check: the file is up to date",
            1: "failed; with --check: the file is not up to date",
            2: "wrong usage",
        },
    ),
)
@config_option
@click.option("--typescript", "as_typescript", is_flag=True, help="Write TypeScript.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default=_STDOUT,
    help='The file to write; without it, or with "-", standard output.',
)
@click.option(
    "--check", is_flag=True, help="Write nothing, and check whether FILE is what would be written."
)
def command(
    *,
    config: Path | None,
    as_typescript: bool,
    output: Path,
    check: bool,
) -> None:
    """Write the types of messages and events for a frontend's compiler.

    The types come from the schemas of all plugins, which are imported and configured, but not
    started. All plugins must load: without one, the types would not be those of the server.
    """
    if not as_typescript:
        raise click.UsageError("Choose a language; there is one: --typescript.")
    if check and output == _STDOUT:
        raise click.UsageError("--check needs --output FILE, the file to check.")
    plugins = list(_declared(_load(config)))
    text = typescript(plugins)
    if output == _STDOUT:
        click.echo(text.encode(), nl=False)  # bytes, so that it is UTF-8 in any locale
    elif check:
        _compare(output, text, config)
        _tell(f"{output} is up to date.")
    else:
        _write(output, text)
        messages = [message for plugin in plugins for message in plugin.messages]
        topics = [pattern for plugin in plugins for pattern in plugin.topics]
        _tell(f"{output} has {count(messages, 'message type')} and {count(topics, 'topic')}.")


def _load(config: Path | None) -> Registry:
    settings = read_settings(config)
    try:
        registry = load_plugins(settings.plugins)
    except ConfigError as exc:
        raise not_valid(exc) from exc
    if registry.failed:
        raise Failure("Types need every plugin, and not all are fine.", *map(str, registry.failed))
    return registry


def _declared(registry: Registry) -> Iterator[PluginTypes]:
    for _, plugin in registry.plugins():
        yield PluginTypes(plugin.name, list(_messages(plugin)), list(_topics(plugin)))


def _messages(plugin: Plugin) -> Iterator[MessageType]:
    for handler in plugin.handlers.values():
        yield MessageType(
            name=handler.type,
            payload=_described(handler.schema, f"payload of {handler.type}"),
            reply=(
                None
                if handler.reply is None
                else _described(handler.reply, f"reply of {handler.type}")
            ),
            streams=handler.kind is HandlerKind.STREAM,
            doc=handler.doc,
            scopes=sorted(handler.scopes),
        )


def _topics(plugin: Plugin) -> Iterator[TopicTypes]:
    for family in plugin.topics:
        pattern = str(family.pattern)
        yield TopicTypes(pattern, _described(family.event, f"event of {pattern}"))


def _described(schema: Schema, what: str) -> dict[str, Any]:
    try:
        return json_schema(schema)
    except Exception as exc:  # noqa: BLE001 - a field's own code may raise anything
        raise Failure(f"The {what} can't be described: {type(exc).__name__}: {exc}") from None


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8", newline="\n")
    except OSError as exc:
        raise Failure(f"{file} can't be written: {exc.strerror}.") from None


def _compare(file: Path, text: str, config: Path | None) -> None:
    """Compare a file with what it should be; print the difference and fail if there is one."""
    options = [] if config is None else ["--config", str(config)]
    mend = shlex.join(["jackfield", "types", "--typescript", *options, "--output", str(file)])
    try:
        there = file.read_text("utf-8")  # universal newlines: a checkout may have changed them
    except FileNotFoundError:
        raise Failure(f"{file} is not there.", f"Write it with: {mend}") from None
    except OSError as exc:
        raise Failure(f"{file} can't be read: {exc.strerror}.") from None
    except UnicodeDecodeError:
        raise Failure(f"{file} is not UTF-8.", f"Write it with: {mend}") from None
    if there == text:
        return
    names = str(file), "the plugins"
    for line in unified_diff(there.splitlines(), text.splitlines(), *names, lineterm=""):
        out.print(Text(one_line(line)), soft_wrap=True)
    raise Failure(f"{file} is not what the plugins declare.", f"Write it with: {mend}")


def _tell(what: str) -> None:
    out.print(Text(one_line(what), style="green"), soft_wrap=True)
