"""The dearest payloads that a message of each built-in type can have: how long each keeps a server.

Run as ``python -m benchmarks.worst_payloads``. What is measured is all that the event loop does
with such a message before its handler: decode it, measure it, validate it and say what is wrong.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from time import thread_time
from typing import Any, Final

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from jackfield import Error
from jackfield.config import load_settings
from jackfield.plugin.handler import Handler
from jackfield.schema.validation import bind
from jackfield.wire.protocol import JSON, MSGPACK, Codec, MalformedError
from tests.support.builtin import built_in
from tests.support.worst_payloads import worst_payloads

#: Milliseconds: as long as one message may keep all others waiting.
WANTED: Final = 5.0
#: How often each payload is measured; the least counts, as all else is the machine's.
_TIMES: Final = 3

_FORMATS: Final[tuple[tuple[Codec, Any], ...]] = ((JSON, msgspec.json), (MSGPACK, msgspec.msgpack))


def dearest(handler: Handler) -> float:
    """Return how many milliseconds the dearest message of a type takes before its handler."""
    limits = load_settings(None, {}, {}).limits
    load = bind(handler.schema, handler.type)
    dearest = 0.0
    for codec, data in _messages(handler, limits.message_bytes):

        def validate(codec: Codec = codec, data: bytes = data) -> None:
            envelope = codec.decode(data)
            codec.check_payload(data, envelope, nesting=limits.nesting, values=limits.values)
            load(envelope.payload)

        dearest = max(dearest, min(_milliseconds(validate) for _ in range(_TIMES)))
    return dearest


def _messages(handler: Handler, size: int) -> Iterator[tuple[Codec, bytes]]:
    for payload in worst_payloads(handler.schema):
        message = {"type": handler.type, "id": 1, "payload": payload}
        for codec, module in _FORMATS:
            with contextlib.suppress(OverflowError):  # MessagePack has no integers of many digits
                data = module.encode(message)
                if len(data) <= size:
                    yield codec, data


def _milliseconds(validate: Callable[[], None]) -> float:
    begin = thread_time()
    with contextlib.suppress(Error, MalformedError):
        validate()
    return (thread_time() - begin) * 1e3


@click.command()
def main() -> None:
    """Measure the dearest payloads of every built-in message type.

    Exit code 1: one takes longer than it may.
    """
    handlers = list(built_in())
    progress = Console(stderr=True)
    measured = {
        handler.type: dearest(handler)
        for handler in track(handlers, "Measuring", console=progress, transient=True)
    }
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("message type", no_wrap=True)
    table.add_column(f"ms, at most {WANTED:g}", justify="right", no_wrap=True)
    for name, milliseconds in measured.items():
        style = "green" if milliseconds <= WANTED else "red"
        table.add_row(name, f"[{style}]{milliseconds:.2f}")
    Console(highlight=False).print(table)
    if max(measured.values()) > WANTED:
        sys.exit(1)


if __name__ == "__main__":
    main()
