"""Frames are what RFC 6455 says they are, to the byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.wire import frames

OPCODES = (frames.TEXT, frames.BINARY, frames.CLOSE, frames.PING, frames.PONG)


def test_opcodes_are_those_of_the_rfc() -> None:
    assert OPCODES == (0x1, 0x2, 0x8, 0x9, 0xA)


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, b"\x81\x00"),
        (1, b"\x81\x01"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (127, b"\x81\x7e\x00\x7f"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_the_header_announces_the_length_in_the_shortest_way(length: int, header: bytes) -> None:
    payload = b"x" * length
    assert frames.frame(frames.TEXT, payload) == header + payload


@pytest.mark.parametrize("opcode", OPCODES)
def test_every_frame_is_final_and_unmasked(opcode: int) -> None:
    whole = frames.frame(opcode, b"payload")
    assert whole[0] == 0x80 | opcode
    assert whole[1] & 0x80 == 0


@given(opcode=st.sampled_from(OPCODES), payload=st.binary(max_size=300))
def test_a_frame_comes_apart_into_what_it_was_made_of(opcode: int, payload: bytes) -> None:
    assert list(frames.split(frames.frame(opcode, payload))) == [(opcode, payload)]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 65_537])
def test_it_comes_apart_at_every_border_of_the_length(length: int) -> None:
    payload = bytes(range(256)) * (length // 256) + b"\x7f" * (length % 256)
    whole = frames.frame(frames.BINARY, payload)
    assert list(frames.split(whole)) == [(frames.BINARY, payload)]


@given(st.lists(st.tuples(st.sampled_from(OPCODES), st.integers(0, 70_000)), max_size=6))
def test_frames_behind_one_another_come_apart_into_each(made: list[tuple[int, int]]) -> None:
    each = [(opcode, b"x" * length) for opcode, length in made]
    assert list(frames.split(b"".join(frames.frame(*one) for one in each))) == each


def test_a_close_frame_holds_the_code_and_the_reason() -> None:
    assert frames.close(1000) == b"\x88\x02\x03\xe8"
    assert frames.close(4001, "shutdown") == b"\x88\x0a\x0f\xa1shutdown"


def test_a_close_frame_can_be_without_a_code() -> None:
    assert frames.close_without_code() == b"\x88\x00"


def test_a_reason_of_123_bytes_is_kept_whole() -> None:
    (whole,) = frames.split(frames.close(1000, "r" * 123))
    assert whole == (frames.CLOSE, b"\x03\xe8" + b"r" * 123)


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("r" * 124, "r" * 123),
        ("é" * 62, "é" * 61),  # 124 bytes; the 123rd is the first half of a character
        ("r" + "é" * 61, "r" + "é" * 61),
        ("rr" + "😀" * 31, "rr" + "😀" * 30),  # cut after one, two and three bytes of four
        ("r" + "😀" * 31, "r" + "😀" * 30),
        ("😀" * 31, "😀" * 30),
    ],
    ids=["ascii", "two-byte", "two-byte-fits", "four-byte-1", "four-byte-2", "four-byte-3"],
)
def test_a_longer_reason_is_cut_between_characters(reason: str, kept: str) -> None:
    assert frames.close(1000, reason) == frames.close(1000, kept)
    (whole,) = frames.split(frames.close(1000, reason))
    assert whole == (frames.CLOSE, b"\x03\xe8" + kept.encode())


@given(code=st.integers(1000, 4999), reason=st.text(max_size=200))
def test_a_close_frame_is_always_a_valid_control_frame(code: int, reason: str) -> None:
    ((opcode, payload),) = frames.split(frames.close(code, reason))
    assert opcode == frames.CLOSE
    assert len(payload) <= 125
    assert int.from_bytes(payload[:2]) == code
    assert reason.startswith(payload[2:].decode())


def test_the_heartbeat_is_an_empty_ping() -> None:
    assert frames.HEARTBEAT == b"\x89\x00"
