"""A large message is counted by its bytes, and may be neither too deep nor too full."""

from typing import Any

import pytest

from jackfield import AnyPayload, Context, Plugin
from jackfield.dispatch.dispatcher import PastRateLimit
from jackfield.wire.protocol import JSON, MSGPACK, Codec
from tests.support.connected import Connected, error_of
from tests.support.messages import encode
from tests.support.routing import Routing, message


class Anything(Routing):
    """A dispatcher whose handler takes any payload."""

    def __init__(self, **limits: Any) -> None:
        test = Plugin("test")

        @test.handler("test.any", AnyPayload)
        async def answer(ctx: Context, data: Any) -> None: ...

        super().__init__(test, limits=limits)


def nested(codec: Codec, depth: int) -> bytes:
    """A message as short as can be whose payload has so many levels."""
    if codec is JSON:
        inner = b"[" * (depth - 1) + b"]" * (depth - 1)
        return b'{"type":"test.any","id":1,"payload":{"a":' + inner + b"}}"
    head = b"\x83\xa4type\xa8test.any\xa2id\x01\xa7payload\x81\xa1a"
    return head + b"\x91" * (depth - 2) + b"\x90"


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
@pytest.mark.parametrize("limit", [8, 60, 400])
async def test_a_message_that_is_too_deep_is_refused(limit: int, codec: Codec) -> None:
    world, client = Anything(nesting=limit), Connected(codec=codec)
    world.accept(client.connection, nested(codec, limit)).finish()
    assert world.dispatcher.accept(client.connection, nested(codec, limit + 1)) is None
    (answer,) = client.sent()
    assert (answer["id"], error_of(answer)["message"]) == (1, "The message is nested too deeply.")
    assert dict(world.dispatcher.failures) == {"invalid_json": 1}
    world.close()


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
@pytest.mark.parametrize("limit", [8, 300, 10_000])
async def test_a_payload_of_too_many_values_is_refused(limit: int, codec: Codec) -> None:
    world, client = Anything(values=limit), Connected(codec=codec)
    envelope = {"type": "test.any", "id": 1, "payload": {"a": [0] * (limit - 1)}}
    world.accept(client.connection, encode(codec, envelope)).finish()
    envelope["payload"] = {"a": [0] * limit}
    assert world.dispatcher.accept(client.connection, encode(codec, envelope)) is None
    (answer,) = client.sent()
    error = error_of(answer)
    assert (answer["id"], error["code"]) == (1, "invalid_payload")
    assert error["message"] == f"The payload has more than {limit} values."
    world.close()


async def test_a_message_is_counted_by_its_bytes() -> None:
    world = Anything()
    client = Connected(limits={"requests_per_second": 20})
    for text, cost in (("", 1), ("x" * 4_000, 1), ("x" * 4_096, 2), ("x" * 60_000, 15)):
        client.connection.allowance.left = 100
        world.accept(client.connection, message("test.any", text=text)).finish()
        # What reads the socket takes one off for each message.
        assert client.connection.allowance.left == 101 - cost
    client.connection.allowance.left = 0
    world.accept(client.connection, message("test.any", text="x" * 60_000)).finish()
    with pytest.raises(PastRateLimit) as caught:
        world.accept(client.connection, message("test.any", text="x" * 60_000))
    assert 0 < caught.value.wait < 1
    client.close()
    world.close()
