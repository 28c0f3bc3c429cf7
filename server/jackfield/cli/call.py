"""``jackfield call``: send one message to a server, and print the answer."""

import asyncio
import sys
from contextlib import aclosing
from typing import Any

import click
import msgspec

from jackfield.wire.malformed import UNDECODABLE

from .connecting import INTERRUPTED, connected, read_duration, read_token, token_option, url_option
from .options import epilog
from .terminal import Failure, print_json


def _read_payload(
    _context: click.Context, _argument: click.Parameter, value: str
) -> dict[str, Any]:
    # In an argument that is not UTF-8, Python has put surrogates for the bytes that are not.
    given = value.encode(errors="surrogateescape")
    text = sys.stdin.buffer.read() if given == b"-" else given
    try:
        payload = msgspec.json.decode(text)
    except UNDECODABLE as exc:
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
            130: "stopped by Ctrl-C",
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
    help="How long to wait for the connection, and for each answer; 0 waits without limit.",
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
    reply is printed as JSON. If the answer is a stream, each chunk is printed on a line of its own
    as it arrives, and the empty reply at the end is not printed. Errors go to standard error.
    """
    if not message_type.isprintable():
        raise click.BadParameter("Not a message type.", param_hint="TYPE")
    try:
        asyncio.run(_call(url, read_token(token_env), message_type, payload, timeout or None))
    except KeyboardInterrupt:
        context.exit(INTERRUPTED)


async def _call(
    url: str,
    token: str | None,
    message_type: str,
    payload: dict[str, Any],
    seconds: float | None,
) -> None:
    async with connected(url, token, seconds) as client:
        streamed = False
        try:
            async with aclosing(client.answers(message_type, payload, timeout=seconds)) as answers:
                async for answer in answers:
                    if answer["type"] == "chunk":
                        streamed = True
                        print_json(answer["payload"])
                    elif answer["payload"] or not streamed:
                        print_json(answer["payload"], may_wrap=True)
        except TimeoutError as exc:
            raise Failure(f"No answer to {message_type} came within {seconds:g} s.") from exc
