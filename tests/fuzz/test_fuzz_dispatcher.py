"""Whatever a client sends, each message has one answer, and no fault of ours is among them."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import pytest
from aiohttp import WSMessage, WSMsgType
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import Schema, fields, validate

from jackfield import Context, Error, Plugin
from jackfield.connection.connection import Connection
from jackfield.connection.new_connection import NewConnection
from jackfield.connection.outbox import Outbox
from jackfield.session.receiver import Receiver
from jackfield.testing import RunningServer, run_server
from jackfield.wire.frames import CLOSE, split
from jackfield.wire.identity import Identity
from jackfield.wire.protocol import JSON, MSGPACK, Codec, MalformedError, NotUtf8Error
from tests.support.waiting import wait_until

Config = Mapping[str, Any]

#: Sequences of messages that are tried, for each encoding: a second or two of them.
EXAMPLES = 60


class Inner(Schema):
    number = fields.Integer(validate=validate.Range(0, 10))
    texts = fields.List(fields.String(validate=validate.Length(max=5)))


class Payload(Schema):
    name = fields.String(required=True)
    inner = fields.Nested(Inner)
    many = fields.Dict(keys=fields.String(), values=fields.Nested(Inner))
    when = fields.DateTime()
    amount = fields.Decimal()


fuzzed = Plugin("fuzzed")


@fuzzed.handler("fuzzed.typed", Payload)
async def typed(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    return {"name": data["name"]}


@fuzzed.handler("fuzzed.beside", Payload, concurrent=True)
async def beside(ctx: Context, data: dict[str, Any]) -> None:
    await asyncio.sleep(0)


@fuzzed.handler("fuzzed.limited", scopes=["fuzz"], rate="5/h")
async def limited(ctx: Context, data: dict[str, Any]) -> None: ...


@fuzzed.handler("fuzzed.forbidden", scopes=["another"])
async def forbidden(ctx: Context, data: dict[str, Any]) -> None: ...


@fuzzed.handler("fuzzed.refused")
async def refused(ctx: Context, data: dict[str, Any]) -> None:
    raise Error("fuzzed.refused", "As always.")


class Transport:
    """Takes whatever is written to it."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...

    def close(self) -> None: ...


class Frames:
    """A socket from which these come, and then no more."""

    def __init__(self, frames: list[WSMessage]) -> None:
        self._frames = iter([*frames, WSMessage(WSMsgType.CLOSED, None, None)])

    async def receive(self) -> WSMessage:
        await asyncio.sleep(0)
        return next(self._frames)


async def drained() -> None: ...


async def answers(server: RunningServer, codec: Codec, sent: list[bytes]) -> list[Any]:
    """What a new connection is answered to these messages."""
    transport: Any = Transport()
    identity = Identity("fuzzer", frozenset({"fuzz"}))
    kind = WSMsgType.TEXT if codec is JSON else WSMsgType.BINARY
    socket: Any = Frames([WSMessage(kind, data, None) for data in sent])
    request: Any = None
    limits = server.node.settings.limits
    receiver = Receiver(
        socket,
        codec.opcode,
        server.node.dispatcher,
        in_flight=limits.in_flight,
        log=server.node.rate_limited_log,
    )
    connection = Connection(
        NewConnection("fuzz", "fuzzer", ""),
        identity=identity,
        codec=codec,
        request=request,
        transport=transport,
        outbox=Outbox(transport, drained, limit=2**24, timeout=10, on_stalled=lambda: None),
        reader=receiver,
        limits=limits,
    )
    await receiver.run(connection)
    await wait_until(lambda: not connection.requests)  # some run beside others
    await connection.outbox.flush()
    assert not server.node.dispatcher.failures["internal"]
    return list(_decoded(codec, bytes(transport.written)))


def _decoded(codec: Codec, written: bytes) -> Iterator[Any]:
    decode: Any = msgspec.json.decode if codec is JSON else msgspec.msgpack.decode
    for opcode, payload in split(written):
        yield "close" if opcode == CLOSE else decode(payload)


types = st.sampled_from(
    [
        "fuzzed.typed",
        "fuzzed.beside",
        "fuzzed.limited",
        "fuzzed.forbidden",
        "fuzzed.refused",
        "session.ping",
        "session.whoami",
        "session.describe",
        "request.cancel",
        "topic.unsubscribe",
    ]
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
names = st.sampled_from(["name", "inner", "many", "when", "amount", "id", "topic", "type"])
payloads = st.dictionaries(names | st.text(max_size=4), values, max_size=4)
ids = st.integers(0, 3) | st.sampled_from(["a", "b"])
envelopes = st.fixed_dictionaries(
    {"type": types | st.text(max_size=5)},
    optional={"id": ids | values, "payload": payloads | values, "extra": values},
)


def encoded(codec: Codec) -> st.SearchStrategy[bytes]:
    """Messages: as they should be, as they might be, damaged, and anything at all."""
    encode = msgspec.json.encode if codec is JSON else msgspec.msgpack.encode

    def try_to_encode(value: Any) -> bytes:
        try:
            return encode(value)
        except (TypeError, ValueError, OverflowError):
            return b"{}"

    whole = (envelopes | values).map(try_to_encode)
    damaged = st.builds(
        lambda data, place, byte: data[:place] + byte + data[place + 1 :],
        whole,
        st.integers(0, 60),
        st.binary(max_size=2),
    )
    return whole | damaged | st.binary(max_size=40)


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
def test_every_message_is_answered_once_and_none_is_our_fault(config: Config, codec: Codec) -> None:
    with asyncio.Runner() as runner:
        server: AbstractAsyncContextManager[RunningServer] = run_server(fuzzed, config=config)
        running = runner.run(server.__aenter__())

        @settings(max_examples=EXAMPLES)
        @given(st.lists(encoded(codec), min_size=1, max_size=8))
        def run(sent: list[bytes]) -> None:
            received = runner.run(answers(running, codec, sent))
            if "close" in received:  # text that is not UTF-8
                assert codec is JSON
                return
            for answer in received:
                assert answer["type"] in {"reply", "error"}
                if answer["type"] == "error":
                    assert answer["error"]["code"] != "internal", answer
            # A message without an id has no reply, only an error if there is one.
            assert len(received) <= len(sent)
            expected = [data for data in sent if _wants_answer(codec, data)]
            assert len(received) >= len(expected)

        try:
            run()
        finally:
            runner.run(server.__aexit__(None, None, None))


def _wants_answer(codec: Codec, data: bytes) -> bool:
    """Whether it is a message with an id, or none at all."""
    try:
        return codec.decode(data).id is not msgspec.UNSET
    except (MalformedError, NotUtf8Error):
        return True
