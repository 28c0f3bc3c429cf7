"""RFC 6455, section 5: frames of a client, and those that no client may send."""

from collections.abc import Mapping
from typing import Any

import pytest

from jackfield.testing import run_server
from tests.support.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Raw, masked, raw

Config = Mapping[str, Any]

REQUEST = b'{"type":"session.ping","id":1,"payload":{"a":1}}'
REPLY = {"type": "reply", "id": 1, "payload": {"a": 1}}

COMPRESSION = [{}, {"server": {"compression": True}}]
#: The same rules hold where compression was agreed on, and other code keeps to them.
compressing_or_not = pytest.mark.parametrize("more", COMPRESSION, ids=["plain", "deflate"])
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


async def close_code(client: Raw) -> int:
    """With what it closes, once what was asked before is answered and with nothing in between."""
    assert await client.message() == REPLY
    opcode, payload = await client.receive()
    assert opcode == CLOSE
    return int.from_bytes(payload[:2])


def unmasked(opcode: int, payload: bytes) -> bytes:
    return bytes([0x80 | opcode, len(payload)]) + payload


def padded(payload: bytes, size: int) -> bytes:
    """A text frame that says its length in more bytes than it needs."""
    flag = 126 if size == 2 else 127
    return bytes([0x81, 0x80 | flag]) + len(payload).to_bytes(size) + bytes(4) + payload


VIOLATIONS = {
    "5.1 not masked": unmasked(TEXT, REQUEST),
    "5.1 a ping that is not masked": unmasked(PING, b""),
    "5.1 a close that is not masked": unmasked(CLOSE, (1000).to_bytes(2)),
    "5.2 reserved bit 1": masked(TEXT, REQUEST, rsv=0x40, fin=True),
    "5.2 reserved bit 2": masked(TEXT, REQUEST, rsv=0x20),
    "5.2 reserved bit 3": masked(TEXT, REQUEST, rsv=0x10),
    **{f"5.2 opcode {code:x}": masked(code, b"") for code in (3, 4, 5, 6, 7)},
    **{f"5.2 opcode {code:x}": masked(code, b"") for code in (0xB, 0xC, 0xD, 0xE, 0xF)},
    "5.2 a short length in two bytes": padded(REQUEST, 2),
    "5.2 a length of 125 in two bytes": padded(b"x" * 125, 2),
    "5.2 a short length in eight bytes": padded(REQUEST, 8),
    "5.2 a length of 65535 in eight bytes": padded(b"x" * 65_535, 8),
    "5.2 a length with the highest bit": b"\x81\xff" + (2**63).to_bytes(8) + bytes(4),
    "5.4 a continuation of nothing": masked(CONTINUATION, REQUEST),
    "5.4 a message within another": masked(TEXT, b"x", fin=False) + masked(TEXT, b"x"),
    "5.4 a beginning within another": masked(TEXT, b"x", fin=False) * 2,
    "5.5 a long ping": masked(PING, b"x" * 126),
    "5.5 a fragmented ping": masked(PING, b"x", fin=False),
    "5.5 a fragmented close": masked(CLOSE, b"", fin=False),
    "5.5 a ping with reserved bit 1": masked(PING, b"", rsv=0x40),
    "5.5 a pong with reserved bit 1": masked(PONG, b"", rsv=0x40),
    "5.5 a close with reserved bit 1": masked(CLOSE, b"", rsv=0x40),
}


@compressing_or_not
@pytest.mark.parametrize("frames", VIOLATIONS.values(), ids=VIOLATIONS)
async def test_a_violation_is_closed_with_1002(
    config: Config, more: dict[str, Any], frames: bytes
) -> None:
    async with run_server(config={**config, **more}) as server, raw(server, DEFLATE) as client:
        await client.welcome()
        client.writer.write(masked(TEXT, REQUEST) + frames + masked(TEXT, REQUEST))
        assert await close_code(client) == 1002


@compressing_or_not
@pytest.mark.parametrize("frames", VIOLATIONS.values(), ids=VIOLATIONS)
async def test_a_violation_is_seen_wherever_a_read_ends(
    config: Config, more: dict[str, Any], frames: bytes
) -> None:
    async with run_server(config={**config, **more}) as server, raw(server, DEFLATE) as client:
        await client.welcome()
        client.send(TEXT, REQUEST)
        for place in range(min(len(frames), 12)):
            client.writer.write(frames[place : place + 1])
            await client.writer.drain()
        client.writer.write(frames[12:])
        assert await close_code(client) == 1002


@compressing_or_not
async def test_5_3_any_mask_is_taken_off(config: Config, more: dict[str, Any]) -> None:
    async with run_server(config={**config, **more}) as server, raw(server, DEFLATE) as client:
        await client.welcome()
        for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x37\xfa\x21\x3d"):
            hidden = bytes(byte ^ mask[place % 4] for place, byte in enumerate(REQUEST))
            client.writer.write(bytes([0x81, 0x80 | len(REQUEST)]) + mask + hidden)
            assert await client.message() == REPLY


@compressing_or_not
@pytest.mark.parametrize("length", [125, 126, 127, 65_535, 65_536])
async def test_5_2_every_length_in_its_shortest_form_is_taken(
    config: Config, more: dict[str, Any], length: int
) -> None:
    async with run_server(config={**config, **more}) as server, raw(server, DEFLATE) as client:
        await client.welcome()
        client.send(TEXT, REQUEST + b" " * (length - len(REQUEST)))
        assert await client.message() == REPLY


@compressing_or_not
async def test_5_4_control_frames_may_come_between_fragments(
    config: Config, more: dict[str, Any]
) -> None:
    async with run_server(config={**config, **more}) as server, raw(server, DEFLATE) as client:
        await client.welcome()
        client.send(TEXT, REQUEST[:10], fin=False)
        client.send(PING, b"between")
        client.send(CONTINUATION, b"", fin=False)
        client.send(PONG, b"unasked")
        client.send(CONTINUATION, REQUEST[10:])
        assert await client.receive() == (PONG, b"between")
        assert await client.message() == REPLY


@compressing_or_not
async def test_5_5_2_every_ping_is_answered_with_its_payload(
    config: Config, more: dict[str, Any]
) -> None:
    async with run_server(config={**config, **more}) as server, raw(server, DEFLATE) as client:
        await client.welcome()
        for payload in (b"", b"x" * 125, b"\xff\x00"):
            client.send(PING, payload)
            assert await client.receive() == (PONG, payload)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (masked(TEXT, b'{"type":"\xff"}'), 1007),
        (masked(TEXT, b"\xed\xa0\x80"), 1007),
        (masked(TEXT, b"\xc3", fin=False) + masked(CONTINUATION, b"\x28"), 1007),
        (masked(BINARY, REQUEST), 1003),
        (masked(TEXT, b" " * 65_537), 1009),
    ],
)
@compressing_or_not
async def test_5_6_and_8_1_text_is_utf_8_and_not_too_large(
    config: Config, more: dict[str, Any], frames: bytes, code: int
) -> None:
    async with run_server(config={**config, **more}) as server, raw(server, DEFLATE) as client:
        await client.welcome()
        client.writer.write(masked(TEXT, REQUEST) + frames)
        assert await close_code(client) == code
