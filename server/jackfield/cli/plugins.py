"""``jackfield plugins``: what is installed, what is loaded, and why something isn't."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from jackfield.compiled import compile_schema
from jackfield.config import ConfigError, Settings
from jackfield.json_schema import json_schema
from jackfield.plugin import Handler, Kind
from jackfield.registry import Entry, State
from jackfield.validation import AnyPayload

from .options import config_option, epilog, load_plugins, not_valid, read_settings
from .terminal import one_line, out

_COLOURS: Final = {State.LOADED: "green", State.DISABLED: "dim", State.FAILED: "bold red"}


@click.command(
    "plugins",
    epilog=epilog(
        ["jackfield plugins --verbose", "jackfield plugins --json | jq '.[].types[].type'"],
        {0: "listed, failed ones too", 1: "the configuration is not valid", 2: "wrong usage"},
    ),
)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the schemas.")
@click.option("-v", "--verbose", is_flag=True, help="Tell more about each message type.")
def command(config: Path | None, *, as_json: bool, verbose: bool) -> None:
    """List the installed plugins and their message types.

    They are imported and configured, and not started; `jackfield check` tells by its exit code
    whether one failed.
    """
    settings = read_settings(config)
    try:
        entries = load_plugins(settings.plugins).entries
    except ConfigError as exc:
        raise not_valid(exc) from exc
    if as_json:
        listed = [_as_dict(entry, settings) for entry in entries]
        # A schema may have defaults that are no JSON value.
        click.echo(msgspec.json.format(msgspec.json.encode(listed, enc_hook=str)))
    else:
        out.print(Group(*_sections(entries, settings)) if verbose else _table(entries))


def _handlers(entry: Entry) -> list[Handler]:
    """What it adds to the server: nothing, if it is left out."""
    if entry.state is not State.LOADED or entry.plugin is None:
        return []
    return [handler for _, handler in sorted(entry.plugin.handlers.items())]


def _timeout(handler: Handler, settings: Settings) -> float | None:
    """Seconds that it may take here; None without a limit."""
    if handler.timeout is None and handler.kind is not Kind.STREAM:
        return settings.limits.handler_timeout
    return handler.timeout


def _not_compiled(handler: Handler) -> str | None:
    """Why its payloads are left to marshmallow whole; None if they are loaded by compiled code."""
    if type(handler.schema) is AnyPayload:
        return None  # it isn't loaded at all
    return compile_schema(handler.schema).reason


def _as_dict(entry: Entry, settings: Settings) -> dict[str, Any]:
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
                "streams": handler.kind is Kind.STREAM,
                "concurrent": handler.concurrent or handler.kind is Kind.STREAM,
                "scopes": sorted(handler.scopes),
                "timeout": _timeout(handler, settings),
                "not_compiled": _not_compiled(handler),
                "payload": json_schema(handler.schema),
                "reply": None if handler.reply is None else json_schema(handler.reply),
            }
            for handler in _handlers(entry)
        ],
    }


def _table(entries: list[Entry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style="bold")
    table.add_column("Plugin", no_wrap=True)
    table.add_column("Distribution")
    table.add_column("State")
    table.add_column("Message types", overflow="fold")
    for entry in entries:
        types = Text(", ".join(handler.type for handler in _handlers(entry)))
        what = _why(entry) if entry.state is State.FAILED else types
        table.add_row(entry.name, entry.source, _state(entry), what)
    return table


def _sections(entries: list[Entry], settings: Settings) -> Iterator[RenderableType]:
    """What ``--verbose`` prints: each plugin by itself, with a paragraph for each message type."""
    for entry in entries:
        yield Text.assemble((entry.name, "bold"), f"  {entry.source}  ", _state(entry))
        if entry.state is State.FAILED:
            yield Padding(_why(entry), (0, 0, 0, 2))
        for handler in _handlers(entry):
            yield Padding(_described(handler, settings), (0, 0, 0, 2))
        yield ""


def _state(entry: Entry) -> Text:
    return Text(entry.state, style=_COLOURS[entry.state])


def _why(entry: Entry) -> Text:
    return Text(one_line(f"{entry.stage}: {entry.reason}"), style="red")


def _described(handler: Handler, settings: Settings) -> Group:
    """A message type: its name, what is special about it, its first sentence, its fields."""
    seconds = _timeout(handler, settings)
    traits = [
        *(["streams"] if handler.kind is Kind.STREAM else []),
        *(["concurrent"] if handler.concurrent else []),
        *([f"needs {', '.join(sorted(handler.scopes))}"] if handler.scopes else []),
        "no timeout" if seconds is None else f"{seconds:g} s",
    ]
    reason = _not_compiled(handler)
    traits.append("compiled" if reason is None else f"not compiled: {reason}")
    fields = [
        f"{field.data_key or name}{'' if field.required else '?'}"
        for name, field in handler.schema.load_fields.items()
    ]
    lines = [" ".join(handler.doc.partition("\n\n")[0].split()), ", ".join(fields)]
    heading = Text.assemble((handler.type, "cyan"), ("  " + " · ".join(traits), "dim"))
    return Group(heading, *(Padding(Text(line), (0, 0, 0, 2)) for line in lines if line))
