"""What the commands share that connect to a server: options, the connection, its failures."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import click

from jackfield.client import (
    Client,
    ConnectionClosed,
    ConnectionFailed,
    RequestError,
    StreamBroken,
    connect,
)
from jackfield.config import parse_duration

from .terminal import Failure, NotConnectedError

DEFAULT_URL: Final = "ws://127.0.0.1:8080/ws"
#: 128 plus the number of SIGINT, as shells have it: the exit code after Ctrl-C.
INTERRUPTED: Final = 130

url_option = click.option(
    "--url",
    metavar="URL",
    default=DEFAULT_URL,
    show_default=True,
    envvar="JACKFIELD_URL",
    show_envvar=True,
    help="The address of the server's WebSocket.",
)
token_option = click.option(
    "--token-env", metavar="NAME", help="The environment variable with a token to send."
)


def read_duration(_context: click.Context, option: click.Parameter, value: str) -> float:
    """Return the duration that an option gives, in seconds."""
    try:
        return parse_duration(value)
    except ValueError as exc:
        raise click.BadParameter(f"{exc}.", param_hint=option.opts[0]) from None


def read_token(variable: str | None) -> str | None:
    """Return the token in an environment variable, None if no variable is named."""
    if variable is None:
        return None
    token = os.environ.get(variable, "")
    if not token:
        raise click.BadParameter(f"{variable} is not set, or is empty.", param_hint="--token-env")
    if not (token.isascii() and token.isprintable()):
        raise click.BadParameter(f"{variable} holds no token.", param_hint="--token-env")
    return token


@asynccontextmanager
async def connected(
    url: str,
    token: str | None,
    timeout: float | None,  # noqa: ASYNC109 - it bounds the opening, not the body
) -> AsyncIterator[Client]:
    """Connect to a server for the time of an `async with`; errors of the client fail the command.

    Args:
        url: The address of its WebSocket.
        token: The token to send, None for none.
        timeout: Seconds until the server must have welcomed the client, None for no limit.

    Raises:
        NotConnectedError: The connection could not be opened.
        Failure: The server has answered with an error, or the connection was lost.
    """
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(connect(url, token=token, timeout=timeout))
        except (ConnectionFailed, ConnectionClosed) as exc:
            raise NotConnectedError(str(exc)) from exc
        try:
            yield client
        except RequestError as exc:
            raise Failure(f"{exc.code}: {exc.message}", *_details(exc)) from exc
        except (ConnectionClosed, StreamBroken) as exc:
            raise Failure(str(exc)) from exc


def _details(error: RequestError) -> Iterator[str]:
    """Return what an error has besides its message, line by line."""
    width = max((len(field["pointer"]) for field in error.fields), default=0)
    codes = max((len(field["code"]) for field in error.fields), default=0)
    for field in error.fields:
        yield f"  {field['pointer']:{width}}  {field['code']:{codes}}  {field['message']}"
    if suggestions := error.extra.get("suggestions"):
        yield f"  Did you mean {' or '.join(suggestions)}?"
    if scopes := error.extra.get("scopes"):
        yield f"  It needs the scopes {', '.join(scopes)}."
    if error.incident is not None:
        yield f"  The server's log has more under incident {error.incident}."
    if "retry_after" in error.extra:
        yield f"  Try again in {error.extra['retry_after']} s."
