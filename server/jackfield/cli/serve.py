"""``jackfield serve``: run the server until it is told to stop."""

import asyncio
import errno
import socket
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.text import Text

from jackfield import runner
from jackfield.config import ConfigError, ServerSettings, Settings
from jackfield.dispatch.plugin_entry import PluginFailures
from jackfield.node import Node
from jackfield.redis.embedded import EmbeddedError

from .connecting import DEFAULT_URL
from .options import config_option, epilog, not_valid, read_settings
from .terminal import Failure, one_line, out

_LEFT_OUT: Final = "Left out"


@click.command(
    "serve",
    epilog=epilog(
        [
            "jackfield serve",
            "jackfield serve --config jackfield.toml --port 9000",
        ],
        {0: "stopped", 1: "did not start", 2: "wrong usage"},
    ),
)
@config_option
@click.option("--host", metavar="ADDRESS", help="Listen here instead of at server.host.")
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65_535),
    help="Listen on this port instead of server.port; 0 takes any that is free.",
)
def command(config: Path | None, host: str | None, port: int | None) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Without a configuration the server listens on http://127.0.0.1:8080 and starts a Valkey of its
    own. The log goes to standard error.
    """
    given = {"host": host, "port": port}
    flags = {key: value for key, value in given.items() if value is not None}
    settings = read_settings(config, {"server": flags})
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            loop.run(runner.serve(settings, partial(_announce, settings)))
    except ConfigError as exc:
        raise not_valid(exc) from exc
    except PluginFailures as exc:
        raise Failure(
            "Plugins failed, and plugins.strict is true.", *map(str, exc.entries)
        ) from exc
    except EmbeddedError as exc:
        raise Failure(*str(exc).splitlines()) from exc
    except OSError as exc:
        raise Failure(_explain(exc, settings.server)) from exc


def _explain(error: OSError, server: ServerSettings) -> str:
    """Return why the server could not start, in a sentence where it could not listen."""
    if isinstance(error, socket.gaierror):
        return f"The host {server.host!r} of server.host cannot be found."
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"Port {server.port} of {server.host} is in use: stop what listens there, or give "
                "another with --port or JACKFIELD__SERVER__PORT (0 takes any that is free)."
            )
        case errno.EADDRNOTAVAIL:
            return f"{server.host} of server.host is not an address of this machine."
        case errno.EACCES if error.filename is None:  # with a file name it is about a file
            return f"Port {server.port} of {server.host} is not for this user to listen on."
    return str(error)


def _announce(settings: Settings, address: str, node: Node) -> None:
    """Print that the server is up: one line for a program, a few more on a terminal."""
    if not sys.stdout.isatty():
        click.echo(f"Jackfield serves on {address}")
        return
    out.print()
    out.print(Text.assemble("Jackfield serves on ", (address, "bold green")), soft_wrap=True)
    out.print()
    for label, words in _summary(settings, address, node):
        style = "bold red" if label == _LEFT_OUT else "dim"
        # Not wrapped, so that the command can be copied as one line.
        out.print(Text.assemble((f"{label:<11}", style), one_line(words)), soft_wrap=True)
    out.print()
    out.print(Text("Ctrl-C stops it.", style="dim"))
    out.print()


def _summary(settings: Settings, address: str, node: Node) -> Iterator[tuple[str, str]]:
    embedded = settings.redis.url == "embedded"
    socket_url = address.replace("http", "ws", 1) + "/ws"
    option = "" if socket_url == DEFAULT_URL else f"--url {socket_url} "
    yield "WebSocket", socket_url
    if settings.server.console:
        yield "Console", f"{address}/"
    yield "Redis", "an embedded Valkey" if embedded else settings.redis.safe_url
    yield "Plugins", ", ".join(entry.name for entry in node.registry.loaded) or "none"
    for entry in node.registry.failed:
        yield _LEFT_OUT, f"{entry.name} of {entry.source}: {entry.reason}"
    yield "Try", f'jackfield call {option}session.ping \'{{"hello": "world"}}\''
