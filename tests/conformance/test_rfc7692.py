"""RFC 7692: messages compressed with permessage-deflate, and those that are not as agreed."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from jackfield.testing import run_server
from jackfield.wire.deflate import Compressor, Deflate
from tests.support.raw import CLOSE, CONTINUATION, PING, PONG, TEXT, Raw, raw

Config = Mapping[str, Any]

RSV1 = 0x40
REQUEST = b'{"type":"session.ping","id":1,"payload":{"a":1}}'
REPLY = {"type": "reply", "id": 1, "payload": {"a": 1}}


class Compressing:
    """A client that compresses with the largest window."""

    def __init__(self, client: Raw, *, takeover: bool = True) -> None:
        agreed = Deflate(15, 15, takeover, takeover, tells_client_bits=False)
        self.raw = client
        self._compressor = Compressor(agreed)

    def compressed(self, text: bytes) -> bytes:
        return self._compressor.add(text) + self._compressor.end()

    def send(self, text: bytes) -> None:
        self.raw.send(TEXT, self.compressed(text), rsv=RSV1)


@asynccontextmanager
async def compressing(
    config: Config, offer: str = "permessage-deflate", *, takeover: bool = True, **more: Any
) -> AsyncIterator[Compressing]:
    settings = {**config, "server": {"compression": True, **more}}
    async with run_server(config=settings) as server:
        async with raw(server, f"Sec-WebSocket-Extensions: {offer}") as client:
            wire = Compressing(client, takeover=takeover)
            assert (await client.message())["type"] == "welcome"
            yield wire


@pytest.mark.parametrize(
    ("offer", "more", "answer"),
    [
        ("permessage-deflate", {}, "permessage-deflate; server_max_window_bits=12"),
        (
            "permessage-deflate; client_max_window_bits",
            {"compression_window": 10},
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=10",
        ),
        (
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
            {"compression_window": 15},
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
        ),
    ],
)
async def test_7_1_a_window_no_larger_than_configured_is_agreed_on(
    config: Config, offer: str, more: dict[str, Any], answer: str
) -> None:
    async with compressing(config, offer, **more) as client:
        assert client.raw.answer.headers["Sec-WebSocket-Extensions"] == answer
        client.send(REQUEST)
        assert await client.raw.message() == REPLY


@pytest.mark.parametrize(
    "offer", ["permessage-deflate; server_max_window_bits=8", "permessage-deflate; unknown"]
)
async def test_7_1_an_offer_that_cannot_be_met_is_declined(config: Config, offer: str) -> None:
    settings = {**config, "server": {"compression": True}}
    async with run_server(config=settings) as server:
        async with raw(server, f"Sec-WebSocket-Extensions: {offer}") as client:
            assert "Sec-WebSocket-Extensions" not in client.answer.headers
            assert (await client.message())["type"] == "welcome"
            client.send(TEXT, REQUEST, rsv=RSV1)
            assert await client.close_code() == 1002


@pytest.mark.parametrize("takeover", [True, False])
async def test_7_2_messages_are_inflated_with_and_without_what_came_before(
    config: Config, *, takeover: bool
) -> None:
    without = "; server_no_context_takeover; client_no_context_takeover"
    offer = "permessage-deflate" + ("" if takeover else without)
    async with compressing(config, offer, takeover=takeover) as client:
        sizes = []
        for _ in range(3):
            payload = client.compressed(REQUEST)
            sizes.append(len(payload))
            client.raw.send(TEXT, payload, rsv=RSV1)
            assert await client.raw.message() == REPLY
        assert (sizes[1] < sizes[0]) is takeover


async def test_7_2_3_4_a_final_block_ends_a_stream_and_not_the_connection(config: Config) -> None:
    async with compressing(config) as client:
        for _ in range(3):
            stored = b"\x01" + len(REQUEST).to_bytes(2, "little")
            stored += (len(REQUEST) ^ 0xFFFF).to_bytes(2, "little") + REQUEST
            client.raw.send(TEXT, stored + b"\0", rsv=RSV1)
            assert await client.raw.message() == REPLY


async def test_6_1_fragments_and_what_comes_between_them(config: Config) -> None:
    async with compressing(config) as client:
        payload = client.compressed(REQUEST)
        client.raw.send(TEXT, payload[:5], fin=False, rsv=RSV1)
        client.raw.send(PING, b"between")
        client.raw.send(CONTINUATION, payload[5:])
        assert await client.raw.receive() == (PONG, b"between")
        assert await client.raw.message() == REPLY
        client.raw.send(TEXT, REQUEST)
        assert await client.raw.message() == REPLY


@pytest.mark.parametrize(
    "wrong", ["control frame", "continuation", "not deflated", "within another", "reserved bit"]
)
async def test_6_what_is_not_as_agreed_is_closed_with_1002(config: Config, wrong: str) -> None:
    async with compressing(config) as client:
        client.send(REQUEST)
        payload = client.compressed(REQUEST)
        if wrong == "control frame":
            client.raw.send(PING, b"", rsv=RSV1)
        elif wrong == "not deflated":
            client.raw.send(TEXT, b"\xff" * 20, rsv=RSV1)
        elif wrong == "reserved bit":
            client.raw.send(TEXT, payload, rsv=RSV1 | 0x20)
        else:
            client.raw.send(TEXT, payload[:5], fin=False, rsv=RSV1)
            opcode = CONTINUATION if wrong == "continuation" else TEXT
            client.raw.send(opcode, payload[5:], rsv=RSV1)
        assert await client.raw.message() == REPLY
        opcode, payload = await client.raw.receive()
        assert (opcode, payload[:2]) == (CLOSE, (1002).to_bytes(2))


async def test_a_message_may_be_as_large_as_one_that_is_not_compressed(config: Config) -> None:
    async with compressing(config) as client:
        client.send(REQUEST + b" " * (65_536 - len(REQUEST)))
        assert await client.raw.message() == REPLY
        client.send(REQUEST + b" " * (65_537 - len(REQUEST)))
        assert await client.raw.close_code() == 1009
