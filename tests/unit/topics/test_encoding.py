"""What a script publishes comes apart again, and is framed once for all who get it."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.topics.encoding import Batch, parse
from jackfield.wire import frames
from jackfield.wire.protocol import JSON, MSGPACK, Codec
from tests.support.audiences import batch, event


@given(
    kind=st.sampled_from([b"e", b"p"]),
    epoch=st.text("abc-_", min_size=1),
    first=st.integers(1, 2**53 - 1),
    messages=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=9),
)
def test_what_a_script_publishes_comes_apart_again(
    kind: bytes, epoch: str, first: int, messages: Sequence[bytes]
) -> None:
    sizes = b",".join(b"%d" % len(each) for each in messages)
    data = b"%b %b %d %b\n%b" % (kind, epoch.encode(), first, sizes, b"".join(messages))
    published = parse(data)
    assert (published.kind, published.epoch) == (kind, epoch)
    assert published.batch.first == first
    assert published.batch.messages == messages
    assert published.batch.last == first + len(messages) - 1


def test_a_message_may_have_any_bytes_of_the_line_before_it() -> None:
    published = parse(b"e epoch 7 5,2\na\nb c, \nzz")
    assert list(published.batch.messages) == [b"a\nb c", b", "]


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["JSON", "MessagePack"])
def test_each_message_is_a_frame_of_its_own_in_the_clients_encoding(codec: Codec) -> None:
    decode = msgspec.json.decode if codec is JSON else msgspec.msgpack.decode
    split = list(frames.split(batch(4, 6).frames(codec)))
    assert [opcode for opcode, _ in split] == [codec.opcode] * 3
    assert [decode(payload) for _, payload in split] == [
        msgspec.json.decode(event(number)) for number in (4, 5, 6)
    ]


def test_frames_are_made_once_for_each_encoding() -> None:
    events = batch(1, 2)
    for codec in (JSON, MSGPACK):
        assert events.frames(codec) is events.frames(codec)
    assert events.frames(JSON) != events.frames(MSGPACK)


@pytest.mark.parametrize(
    ("number", "left"), [(0, [4, 5, 6]), (3, [4, 5, 6]), (4, [5, 6]), (5, [6])]
)
def test_what_comes_after_a_number_has_its_own_numbers(number: int, left: list[int]) -> None:
    after = batch(4, 6).after(number)
    assert list(after.messages) == [event(each) for each in left]
    assert (after.first, after.last) == (left[0], left[-1])


def test_nothing_is_copied_for_who_needs_all() -> None:
    events = batch(4, 6)
    assert events.after(3) is events
    assert isinstance(events.after(4), Batch)
