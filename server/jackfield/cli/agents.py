"""``jackfield agents``: who is registered, what for, and how busy they are, as it changes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import click
from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .options import epilog
from .server import INTERRUPTED, connected, read_duration, read_token, token_option, url_option
from .terminal import Failure, one_line, out, print_json

Agents = list[dict[str, Any]]

#: Seconds that a server has for the welcome, and for each list.
_PATIENCE: Final = 10.0


@click.command(
    "agents",
    epilog=epilog(
        ["jackfield agents", "jackfield agents --once --json | jq '.[].name'"],
        {
            0: "listed",
            1: "refused or failed",
            2: "wrong usage",
            3: "could not connect",
            130: "left by Ctrl-C",
        },
    ),
)
@url_option
@token_option
@click.option(
    "--watch/--once",
    default=None,
    help="Go on and show what changes, or list once; by default it goes on on a terminal only.",
)
@click.option(
    "--interval",
    metavar="DURATION",
    callback=read_duration,
    default="1s",
    show_default=True,
    help="How long to wait until looking again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, each time on one line.")
@click.pass_context
def command(
    context: click.Context,
    *,
    url: str,
    token_env: str | None,
    watch: bool | None,
    interval: float,
    as_json: bool,
) -> None:
    """List the agents that are registered with a server.

    For each there are its skills, how many instances it has, how many tasks are running of how many
    they take together, and how many wait. On a terminal the list follows what happens until Ctrl-C.
    """
    if interval <= 0:
        raise click.BadParameter("Must be more than 0.", param_hint="--interval")
    goes_on = sys.stdout.isatty() and not as_json if watch is None else watch
    lists = _lists(url, read_token(token_env), interval if goes_on else None)
    try:
        asyncio.run(_show(lists, goes_on=goes_on, as_json=as_json))
    except KeyboardInterrupt:
        context.exit(INTERRUPTED)


async def _lists(url: str, token: str | None, interval: float | None) -> AsyncIterator[Agents]:
    """The agents, again and again, or once if there is no interval."""
    async with connected(url, token, _PATIENCE) as client:
        while True:
            try:
                reply = await client.request("agent.list", timeout=_PATIENCE)
            except TimeoutError as exc:
                raise Failure(f"No answer to agent.list came within {_PATIENCE:g} s.") from exc
            yield reply["agents"]
            if interval is None:
                return
            await asyncio.sleep(interval)


async def _show(lists: AsyncIterator[Agents], *, goes_on: bool, as_json: bool) -> None:
    """Print a list each time that it has changed; on a terminal in the place of the last one."""
    if goes_on and not as_json and sys.stdout.isatty():
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
