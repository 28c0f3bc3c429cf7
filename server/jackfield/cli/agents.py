"""``jackfield agents``: list the registered agents, their skills and their load, once or live."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import click
from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .connecting import (
    INTERRUPTED,
    ca_option,
    connected,
    read_duration,
    read_token,
    token_option,
    url_option,
)
from .options import epilog
from .terminal import Failure, one_line, out, print_json

Agents = list[dict[str, Any]]

#: Seconds to wait for the welcome, and for each list: a busy server answers within one.
_TIMEOUT: Final = 10.0


@click.command(
    "agents",
    epilog=epilog(
        ["jackfield agents", "jackfield agents --once --json | jq '.[].name'"],
        {
            0: "listed",
            1: "refused or failed",
            2: "wrong usage",
            3: "could not connect",
            130: "stopped by Ctrl-C",
        },
    ),
)
@url_option
@token_option
@ca_option
@click.option(
    "--watch/--once",
    default=None,
    help="List again whenever something changes, or once; by default once, unless on a terminal.",
)
@click.option(
    "--interval",
    metavar="DURATION",
    callback=read_duration,
    default="1s",
    show_default=True,
    help="How long to wait between two requests for the list.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, each list on one line.")
@click.pass_context
def command(
    context: click.Context,
    *,
    url: str,
    token_env: str | None,
    ca: ssl.SSLContext | None,
    watch: bool | None,
    interval: float,
    as_json: bool,
) -> None:
    """List the agents that are registered with a server.

    For each agent it shows the skills, the number of instances, how many tasks are running out of
    how many the instances take together, and how many wait. On a terminal the list is kept up to
    date until Ctrl-C.
    """
    if interval <= 0:
        raise click.BadParameter("Must be more than 0.", param_hint="--interval")
    if watch is None:
        watch = sys.stdout.isatty() and not as_json
    server = (url, read_token(token_env), _TIMEOUT, ca)
    lists = _lists(server, interval if watch else None)
    try:
        asyncio.run(_show(lists, watch=watch, as_json=as_json))
    except KeyboardInterrupt:
        context.exit(INTERRUPTED)


async def _lists(
    server: tuple[str, str | None, float, ssl.SSLContext | None], interval: float | None
) -> AsyncIterator[Agents]:
    """Request the list once, or again and again with this interval in seconds."""
    async with connected(*server) as client:
        while True:
            try:
                agents = await client.agents(timeout=_TIMEOUT)
            except TimeoutError as exc:
                raise Failure(f"No answer to agent.list came within {_TIMEOUT:g} s.") from exc
            yield agents
            if interval is None:
                return
            await asyncio.sleep(interval)


async def _show(lists: AsyncIterator[Agents], *, watch: bool, as_json: bool) -> None:
    """Print each list that differs from the last one; on a terminal, in its place."""
    if watch and not as_json and sys.stdout.isatty():
        with Live(console=out, auto_refresh=False) as live:
            async for agents in lists:
                live.update(_table(agents), refresh=True)
        return
    shown: Agents | None = None
    async for agents in lists:
        if agents == shown:
            continue
        shown = agents
        if as_json:
            print_json(agents)
        else:
            out.print(_table(agents))


def _table(agents: Agents) -> Table | Text:
    if not agents:
        return Text("No agents are registered.")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style="bold")
    table.add_column("Agent", no_wrap=True)
    table.add_column("Skills", overflow="fold")
    for heading in ("Instances", "Running", "Queued"):
        table.add_column(heading, justify="right")
    for agent in sorted(agents, key=lambda agent: str(agent["name"])):
        away = not agent["instances"]
        skills = ", ".join(sorted(skill["id"] for skill in agent["skills"]))
        table.add_row(
            one_line(agent["name"]),
            one_line(skills),
            Text(str(agent["instances"]), style="bold red" if away else ""),
            f"{agent['running']} of {agent['capacity']}",
            str(agent["queued"]),
            style="dim" if away else "",
        )
    return table
