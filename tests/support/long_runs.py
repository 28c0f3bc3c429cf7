"""What the commands of long runs have in common: how they begin, are stopped, and end."""

import asyncio
import secrets
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn, TypeVar

import click
from rich.console import Console
from rich.markup import escape

T = TypeVar("T")

out: Final = Console(highlight=False, soft_wrap=True)


def seed_option(words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option by which a run is repeated."""
    return click.option(
        "--seed",
        type=int,
        default=lambda: secrets.randbelow(10**6),
        show_default="a random one",
        help=words,
    )


def run(running: Coroutine[Any, Any, T]) -> T:
    """Run to the end; SIGTERM ends it too, and leaves no process behind."""
    try:
        return asyncio.run(_until_stopped(running))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)


async def _until_stopped(running: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await running


def exit_with(wrong: Sequence[str], *, failed: str = "", passed: str = "") -> NoReturn:
    """Print what is wrong and the verdict, and end: with 0 if nothing is, else with 1."""
    for words in wrong:
        out.print(f"[red]{escape(words)}[/red]")
    if wrong:
        out.print(f"[bold red]FAILED[/bold red]{failed}")
        sys.exit(1)
    out.print(f"[bold green]PASSED[/bold green]{passed}")
    sys.exit(0)
