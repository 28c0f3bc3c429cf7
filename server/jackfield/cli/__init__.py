"""The command ``jackfield``; each of its subcommands has a module of its own."""

import click

from . import agents, call, check, plugins, serve, token, types
from .options import epilog

__all__ = ["main"]


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=epilog(
        [
            "jackfield serve",
            'jackfield call session.ping \'{"hello": "world"}\'',
        ],
        {0: "succeeded", 1: "failed", 2: "wrong usage"},
    ),
)
@click.version_option(package_name="jackfield", message="jackfield %(version)s")
def main() -> None:
    """A WebSocket message server in which every message type is a plugin."""


for _module in (serve, check, plugins, types, call, agents, token):
    main.add_command(_module.command)
