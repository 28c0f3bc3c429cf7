"""``jackfield call``: send one message to a server, and print what it answers."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing
from typing import Any, Final

import click
import msgspec

from jackfield.client import ConnectionClosed, ConnectionFailed, RequestError, StreamBroken, connect
from jackfield.config import parse_duration

from .options import epilog
from .terminal import Failure, NotConnectedError, print_json

DEFAULT_URL: Final = "ws://127.0.0.1:8080/ws"
#: 128 and the number of SIGINT, as shells have it: Ctrl-C is how one leaves an endless stream.
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
    """Read what an option says, in seconds."""
    try:
        return parse_duration(value)
    except ValueError as exc:
        raise click.BadParameter(f"{exc}.", param_hint=option.opts[0]) from None


def _read_payload(
    _context: click.Context, _argument: click.Parameter, value: str
) -> dict[str, Any]:
    # An argument that is not UTF-8 has surrogates for its bytes.
    given = value.encode(errors="surrogateescape")
    text = sys.stdin.buffer.read() if given == b"-" else given
    try:
        payload = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise click.BadParameter(f"Not valid JSON: {exc}.", param_hint="JSON") from None
    if not isinstance(payload, dict):
        raise click.BadParameter("Not a JSON object, such as '{\"a\": 1}'.", param_hint="JSON")
    return payload


@click.command(
    "call",
    epilog=epilog(
        [
            'jackfield call session.ping \'{"hello": "world"}\'',
            "jackfield call chat.send - < message.json",
            "jackfield call greeter.count_down '{\"start\": 60}' --timeout 0",
        ],
        {
            0: "answered",
            1: "refused or failed",
            2: "wrong usage",
            3: "could not connect",
            130: "left by Ctrl-C",
        },
    ),
)
@click.argument("message_type", metavar="TYPE")
@click.argument("payload", metavar="[JSON]", default="{}", callback=_read_payload)
@url_option
@click.option(
    "--timeout",
    metavar="DURATION",
    callback=read_duration,
    default="10s",
    show_default=True,
    help="How long to wait for the connection, and for each answer; 0 waits for ever.",
)
@token_option
@click.pass_context
def command(
    context: click.Context,
    *,
    message_type: str,
    payload: dict[str, Any],
    url: str,
    timeout: float,
    token_env: str | None,
) -> None:
    """Send a message of a TYPE, and print the reply.

    The payload is a JSON object, "-" to read it from standard input, or empty if left out. The
    reply is printed as JSON. Where the answer is streamed each chunk is printed on a line as it
    comes, and the empty reply that ends it is not. Errors go to standard error.
    """
    if not message_type.isprintable():
        raise click.BadParameter("Not a message type.", param_hint="TYPE")
    try:
        asyncio.run(_call(url, read_token(token_env), message_type, payload, timeout or None))
    except KeyboardInterrupt:
        context.exit(INTERRUPTED)


def read_token(variable: str | None) -> str | None:
    """The token of an environment variable, None if none is named."""
    if variable is None:
        return None
    token = os.environ.get(variable, "")
    if not token:
        raise click.BadParameter(f"{variable} is not set, or is empty.", param_hint="--token-env")
    if not (token.isascii() and token.isprintable()):
        raise click.BadParameter(f"{variable} holds no token.", param_hint="--token-env")
    return token


async def _call(
    url: str,
    token: str | None,
    message_type: str,
    payload: dict[str, Any],
    seconds: float | None,
) -> None:
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(connect(url, token=token, timeout=seconds))
        except (ConnectionFailed, ConnectionClosed) as exc:
            raise NotConnectedError(str(exc)) from exc
        answers = client.answers(message_type, payload, timeout=seconds)
        await stack.enter_async_context(aclosing(answers))
        streamed = False
        try:
            async for answer in answers:
                if answer["type"] == "chunk":
                    streamed = True
                    print_json(answer["payload"])
                elif answer["payload"] or not streamed:
                    print_json(answer["payload"], may_wrap=True)
        except RequestError as exc:
            raise refused(exc) from exc
        except (ConnectionClosed, StreamBroken) as exc:
            raise Failure(str(exc)) from exc
        except TimeoutError as exc:
            raise Failure(f"No answer to {message_type} came within {seconds:g} s.") from exc


def refused(error: RequestError) -> Failure:
    """What the server has answered with an error."""
    return Failure(f"{error.code}: {error.message}", *_details(error))


def _details(error: RequestError) -> Iterator[str]:
    """What an error tells besides its words, one thing a line."""
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
