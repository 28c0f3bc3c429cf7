"""Headers of a client's frames are checked, wherever one read of the socket ends."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.wire.client_frames import VIOLATION, FrameCheck

#: A payload of any frame, without its mask: they are not looked at.
LENGTHS = st.one_of(st.integers(0, 300), st.sampled_from([65_535, 65_536, 70_000]))


class Reader:
    """Keeps what it is fed."""

    def __init__(self) -> None:
        self.fed = b""
        self.ended = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.fed += data
        return False, b""

    def feed_eof(self) -> None:
        self.ended = True


def header(length: int, size: int | None = None, *, mask: int = 0x80) -> bytes:
    """A text frame's header, with the length in so many bytes: the fewest that hold it, if None."""
    if size is None:
        size = 0 if length < 126 else 2 if length < 65_536 else 8
    short = {0: length, 2: 126, 8: 127}[size]
    return bytes([0x81, mask | short]) + (length.to_bytes(size) if size else b"")


def frame(length: int) -> bytes:
    return header(length) + b"mask" + b"\x05" * length


def fed(whole: bytes, cuts: Sequence[int]) -> bytes:
    """What the reader gets of bytes that come in pieces."""
    reader = Reader()
    check = FrameCheck(reader)
    places = [0, *sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]
    for start, end in itertools.pairwise(places):
        assert check.feed_data(whole[start:end]) == (False, b"")
    return reader.fed


CUTS = st.lists(st.integers(0, 10_000), max_size=20)


@given(lengths=st.lists(LENGTHS, max_size=8), cuts=CUTS)
def test_whole_frames_go_through_unchanged(lengths: list[int], cuts: list[int]) -> None:
    whole = b"".join(map(frame, lengths))
    assert fed(whole, cuts) == whole


@pytest.mark.parametrize(
    "wrong",
    [
        header(0, mask=0),
        header(5, mask=0) + b"hello",
        header(126, mask=0),
        header(65_536, mask=0),
        header(0, 2),
        header(125, 2),
        header(125, 8),
        header(65_535, 8),
        header(2**63, 8),
        header(2**64 - 1, 8),
    ],
    ids=bytes.hex,
)
@given(lengths=st.lists(LENGTHS, max_size=3), cuts=CUTS)
def test_a_refused_frame_is_replaced_and_all_before_it_goes_through(
    wrong: bytes, lengths: list[int], cuts: list[int]
) -> None:
    before = b"".join(map(frame, lengths))
    assert fed(before + wrong + b"mask" + frame(3), cuts) == before + VIOLATION


@given(length=LENGTHS)
def test_a_header_byte_by_byte_is_one_header(length: int) -> None:
    whole = frame(length) + frame(1)
    assert fed(whole, range(20)) == whole


def test_a_length_that_no_limit_allows_is_left_to_the_reader() -> None:
    whole = header(2**63 - 1) + b"mask" + b"x" * 100
    assert fed(whole, [50]) == whole


def test_the_end_is_passed_on() -> None:
    reader = Reader()
    FrameCheck(reader).feed_eof()
    assert reader.ended
