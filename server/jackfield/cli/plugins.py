"""``jackfield plugins``: list the installed plugins, and why one is not loaded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from marshmallow import Schema
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from jackfield.config import ConfigError, Settings
from jackfield.declaration.topic_family import TopicFamily
from jackfield.dispatch.plugin_entry import PluginEntry, PluginState
from jackfield.plugin.handler import Handler, HandlerKind
from jackfield.schema.compiled import compile_schema
from jackfield.schema.json_schema import json_schema
from jackfield.schema.validation import AnyPayload

from .options import config_option, epilog, load_plugins, not_valid, read_settings
from .terminal import one_line, out

#: The units a duration is printed in, the largest first, and their seconds.
_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60}

_COLOURS: Final = {
    PluginState.LOADED: "green",
    PluginState.DISABLED: "dim",
    PluginState.FAILED: "bold red",
}


@click.command(
    "plugins",
    epilog=epilog(
        ["jackfield plugins --verbose", "jackfield plugins --json | jq '.[].types[].type'"],
        {
            0: "listed, with those that failed",
            1: "the configuration is not valid",
            2: "wrong usage",
        },
    ),
)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the schemas.")
@click.option("-v", "--verbose", is_flag=True, help="Show more about each message type and topic.")
def command(config: Path | None, *, as_json: bool, verbose: bool) -> None:
    """List the installed plugins, their message types and their topics.

    The plugins are imported and configured, but not started. To get an exit code that says whether
    one failed, use `jackfield check`.
    """
    settings = read_settings(config)
    try:
        entries = load_plugins(settings.plugins).entries
    except ConfigError as exc:
        raise not_valid(exc) from exc
    if as_json:
        listed = [_as_dict(entry, settings) for entry in entries]
        # A default in a schema may not be a JSON value.
        click.echo(msgspec.json.format(msgspec.json.encode(listed, enc_hook=str)))
    else:
        out.print(Group(*_sections(entries, settings)) if verbose else _table(entries))


def _handlers(entry: PluginEntry) -> list[Handler]:
    """What it adds to the server: nothing, if it is left out."""
    if entry.state is not PluginState.LOADED or entry.plugin is None:
        return []
    return [handler for _, handler in sorted(entry.plugin.handlers.items())]


def _topics(entry: PluginEntry) -> list[TopicFamily]:
    """The same for topics."""
    if entry.state is not PluginState.LOADED or entry.plugin is None:
        return []
    return sorted(entry.plugin.topics, key=lambda family: str(family.pattern))


def _timeout(handler: Handler, settings: Settings) -> float | None:
    """Seconds that it may take here; None without a limit."""
    if handler.timeout is None and handler.kind is not HandlerKind.STREAM:
        return settings.limits.handler_timeout
    return handler.timeout


def _not_compiled(handler: Handler) -> str | None:
    """Return why payloads are loaded by marshmallow alone; None if compiled code loads them."""
    if type(handler.schema) is AnyPayload:
        return None  # there is nothing to load
    return compile_schema(handler.schema).reason


def _as_dict(entry: PluginEntry, settings: Settings) -> dict[str, Any]:
    return {
        "name": entry.name,
        "distribution": entry.candidate.distribution,
        "version": entry.candidate.version,
        "state": entry.state,
        "stage": entry.stage,
        "reason": entry.reason or None,
        "types": [
            {
                "type": handler.type,
                "doc": handler.doc,
                "streams": handler.kind is HandlerKind.STREAM,
                "concurrent": handler.concurrent or handler.kind is HandlerKind.STREAM,
                "scopes": sorted(handler.scopes),
                "timeout": _timeout(handler, settings),
                "not_compiled": _not_compiled(handler),
                "payload": json_schema(handler.schema),
                "reply": None if handler.reply is None else json_schema(handler.reply),
            }
            for handler in _handlers(entry)
        ],
        "topics": [
            {
                "pattern": str(family.pattern),
                "history": family.history,
                "ttl": family.ttl,
                "presence": family.presence,
                "publish": family.client_publish,
                "scopes": sorted(family.scopes),
                "event": json_schema(family.event),
            }
            for family in _topics(entry)
        ],
    }


def _table(entries: list[PluginEntry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style="bold")
    table.add_column("Plugin", no_wrap=True)
    table.add_column("Distribution")
    table.add_column("State")
    table.add_column("Message types", overflow="fold")
    table.add_column("Topics", overflow="fold")
    for entry in entries:
        types = Text(", ".join(handler.type for handler in _handlers(entry)))
        what = _why(entry) if entry.state is PluginState.FAILED else types
        topics = Text(", ".join(str(family.pattern) for family in _topics(entry)))
        table.add_row(entry.name, entry.source, _state(entry), what, topics)
    return table


def _sections(entries: list[PluginEntry], settings: Settings) -> Iterator[RenderableType]:
    """What ``--verbose`` prints: each plugin by itself, with a paragraph for each thing it has."""
    for entry in entries:
        yield Text.assemble((entry.name, "bold"), f"  {entry.source}  ", _state(entry))
        if entry.state is PluginState.FAILED:
            yield Padding(_why(entry), (0, 0, 0, 2))
        for handler in _handlers(entry):
            yield Padding(_described(handler, settings), (0, 0, 0, 2))
        for family in _topics(entry):
            yield Padding(_described_topic(family), (0, 0, 0, 2))
        yield ""


def _state(entry: PluginEntry) -> Text:
    return Text(entry.state, style=_COLOURS[entry.state])


def _why(entry: PluginEntry) -> Text:
    return Text(one_line(f"{entry.stage}: {entry.reason}"), style="red")


def _described(handler: Handler, settings: Settings) -> Group:
    """Describe a message type by its name, its traits, its first sentence and its fields."""
    seconds = _timeout(handler, settings)
    traits = [
        *(["streams"] if handler.kind is HandlerKind.STREAM else []),
        *(["concurrent"] if handler.concurrent else []),
        *([f"needs {', '.join(sorted(handler.scopes))}"] if handler.scopes else []),
        "no timeout" if seconds is None else f"{seconds:g} s",
    ]
    reason = _not_compiled(handler)
    traits.append("compiled" if reason is None else f"not compiled: {reason}")
    first_sentence = " ".join(handler.doc.partition("\n\n")[0].split())
    return _paragraph(handler.type, traits, [first_sentence, _fields(handler.schema)])


def _described_topic(family: TopicFamily) -> Group:
    """Describe a family of topics by its pattern, its options and the fields of an event."""
    traits = [
        "topic",
        f"history of {family.history}" if family.history else "no history",
        f"kept {_written(family.ttl)}",
        *(["presence"] if family.presence else []),
        *(["clients publish"] if family.client_publish else []),
        *([f"needs {', '.join(sorted(family.scopes))}"] if family.scopes else []),
    ]
    return _paragraph(str(family.pattern), traits, [_fields(family.event)])


def _paragraph(name: str, traits: list[str], lines: list[str]) -> Group:
    heading = Text.assemble((name, "cyan"), ("  " + " · ".join(traits), "dim"))
    return Group(heading, *(Padding(Text(line), (0, 0, 0, 2)) for line in lines if line))


def _fields(schema: Schema) -> str:
    return ", ".join(
        f"{field.data_key or name}{'' if field.required else '?'}"
        for name, field in schema.load_fields.items()
    )


def _written(seconds: float) -> str:
    """Return a duration in the largest unit that divides it, as authors write it."""
    for unit, size in _UNITS.items():
        if seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
