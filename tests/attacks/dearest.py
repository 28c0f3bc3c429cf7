"""The dearest payloads that a message of each built-in type can have: how long each keeps a server.

What is measured is all that the event loop does with such a message before its handler: decode it,
measure it, validate it and say what is wrong.
"""

import contextlib
from collections.abc import Callable, Iterator
from time import thread_time
from typing import Any, Final

import msgspec

from jackfield import Error
from jackfield.config import load_settings
from jackfield.plugin.handler import Handler
from jackfield.schema.validation import bind
from jackfield.wire.protocol import JSON, MSGPACK, Codec, MalformedError
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
