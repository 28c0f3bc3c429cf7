"""Frames of a client that compresses become frames of one that does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.wire import frames
from jackfield.wire.client_frames import VIOLATION
from jackfield.wire.deflate import COMPRESSED, Compressor, Deflate
from jackfield.wire.deflated_frames import TOO_LARGE, DeflatedFrames
from tests.support.raw import BINARY, CONTINUATION, PING, TEXT, masked

AGREED = Deflate(12, 12, server_takeover=True, client_takeover=True, tells_client_bits=True)
LIMIT = 1_000


def taken(*pieces: bytes) -> list[bytes]:
    """What the reader gets of these."""
    client, got = DeflatedFrames(AGREED, LIMIT), []
    for piece in pieces:
        client.receive(piece)
        while (frame := client.take()) is not None:
            got.append(frame)
    return [frame for frame in got if frame]


def compressed(text: bytes, compressor: Compressor | None = None) -> bytes:
    compressor = compressor or Compressor(AGREED)
    return compressor.add(text) + compressor.end()


@given(
    texts=st.lists(st.binary(max_size=300), min_size=1, max_size=5),
    cut=st.integers(0, 300),
    step=st.integers(1, 400),
)
def test_compressed_messages_are_inflated_however_they_come(
    texts: list[bytes], cut: int, step: int
) -> None:
    compressor, whole, expected = Compressor(AGREED), b"", []
    for text in texts:
        payload = compressed(text, compressor)
        ping = masked(PING, b"between")
        whole += masked(BINARY, payload[:cut], fin=False, rsv=COMPRESSED)
        whole += ping + masked(CONTINUATION, payload[cut:])
        expected += [ping, frames.frame(frames.BINARY, text)]
    pieces = [whole[start : start + step] for start in range(0, len(whole), step)]
    assert taken(*pieces) == expected


def test_a_masked_payload_is_unmasked() -> None:
    payload = compressed(b"hello")
    mask = b"\x11\x22\x33\x44"
    hidden = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    frame = bytes([0x80 | COMPRESSED | TEXT, 0x80 | len(payload)]) + mask + hidden
    assert taken(frame) == [frames.frame(frames.TEXT, b"hello")]


def test_what_is_not_compressed_goes_through_as_it_is() -> None:
    plain = [
        masked(TEXT, b"begin", fin=False),
        masked(PING, b""),
        masked(CONTINUATION, b"end"),
        masked(BINARY, b"x" * LIMIT),
        masked(0x3, b"unknown"),
    ]
    assert taken(b"".join(plain)) == plain


RSV2 = 0x20
DEFLATED = masked(TEXT, compressed(b"x"), rsv=COMPRESSED)
BEGUN = masked(TEXT, compressed(b"x"), fin=False, rsv=COMPRESSED)


@pytest.mark.parametrize(
    ("wrong", "instead"),
    [
        (b"\x81\x01x", VIOLATION),
        (b"\x81\xfe\x00\x05" + bytes(9), VIOLATION),
        (b"\x81\xff" + (65_535).to_bytes(8) + bytes(9), VIOLATION),
        (masked(TEXT, b"\xff" * 10, rsv=COMPRESSED), VIOLATION),
        (masked(TEXT, compressed(b"x"), rsv=COMPRESSED | RSV2), VIOLATION),
        (BEGUN + masked(CONTINUATION, b"", rsv=COMPRESSED), VIOLATION),
        (BEGUN + DEFLATED, VIOLATION),
        (BEGUN + masked(TEXT, b"plain"), VIOLATION),
        (masked(TEXT, compressed(bytes(LIMIT + 1)), rsv=COMPRESSED), TOO_LARGE),
        (masked(TEXT, bytes(2 * LIMIT)), TOO_LARGE),
    ],
)
def test_a_refused_frame_is_replaced_and_no_more_is_taken(wrong: bytes, instead: bytes) -> None:
    before = masked(TEXT, b"before")
    assert taken(before, wrong, DEFLATED) == [before, instead]


def test_the_first_bit_within_a_plain_message_is_left_to_the_reader() -> None:
    begun = masked(TEXT, b"plain", fin=False)
    assert taken(begun + DEFLATED) == [begun, DEFLATED]


def test_only_the_unread_is_kept() -> None:
    client = DeflatedFrames(AGREED, LIMIT)
    for _ in range(1_000):
        client.receive(DEFLATED)
        assert client.take()
    assert len(client._received) <= len(DEFLATED)
    client.receive(DEFLATED[:3])
    client.end()
    client.receive(DEFLATED)
    assert client.take() is None
