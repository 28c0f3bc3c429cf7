"""Why bytes are no message is found in the bytes, whatever the decoder raises for them."""

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from jackfield.wire import frames
from jackfield.wire.malformed import UNDECODABLE, Cause, cause_in_json, cause_in_message_pack
from jackfield.wire.protocol import Codec, MalformedError, NotUtf8Error

#: What msgspec 0.20 to 0.23 have raised for a message, and what another decoder might.
RAISED = [
    msgspec.DecodeError("Invalid UTF-8 encoded string"),
    msgspec.ValidationError("Number out of range"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    TypeError("unhashable type: 'dict'"),
    OverflowError("too large"),
    RecursionError("maximum recursion depth exceeded"),
]


def refusing(opcode: int, error: Exception) -> Codec:
    """A codec whose decoder refuses everything, always with the same error."""

    def decode(data: bytes) -> Any:
        raise error

    return Codec(
        "refusing",
        opcode,
        SimpleNamespace(
            Decoder=lambda *_types: SimpleNamespace(decode=decode), Encoder=msgspec.json.Encoder
        ),
    )


def told(codec: Codec, data: bytes) -> str:
    try:
        codec.decode(data)
    except MalformedError as malformed:
        return malformed.error.message
    except NotUtf8Error:
        return "closed"
    pytest.fail("it was decoded")


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_what_a_client_is_told_does_not_depend_on_what_the_decoder_raises(
    error: Exception,
) -> None:
    text, binary = refusing(frames.TEXT, error), refusing(frames.BINARY, error)
    assert told(text, b'{"type":"\xff"}') == "closed"
    assert told(text, b"[1e999]") == "The message has a number that is out of range."
    assert told(text, b"[" * 1000) == "The message is nested too deeply."
    assert told(text, b"nul") == "The message is not valid JSON."
    assert told(binary, b"\xa1\xff") == "The message has text that is not UTF-8."
    assert told(binary, b"\xc7\x01\xff\x00") == "The message has a number that is out of range."
    assert told(binary, b"\x91" * 1000) == "The message is nested too deeply."
    assert told(binary, b"\xc1") == "The message is not valid MessagePack."


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"", Cause.INVALID),
        (b'["1e999', Cause.INVALID),
        (b'{"a\\"1e999": "[[["', Cause.INVALID),
        (b'"%s' % (b"[" * 1000), Cause.INVALID),
        (b"[]" * 1000, Cause.INVALID),
        (b"[" * 256, Cause.INVALID),
        (b"[" * 257, Cause.TOO_DEEP),
        (b"1" * 4_300, Cause.INVALID),
        (b"1" * 4_301, Cause.OUT_OF_RANGE),
        (b"[-1E+309]", Cause.OUT_OF_RANGE),
        (b"[1.7e308, 1e-999, 0.%s]" % (b"1" * 5_000), Cause.INVALID),
    ],
    ids=lambda value: value if isinstance(value, Cause) else repr(value[:20]),
)
def test_strings_are_passed_over_and_numbers_weighed(text: bytes, cause: Cause) -> None:
    assert cause_in_json(text) is cause


#: One value of each form of MessagePack that has text that is not UTF-8 inside, or behind it.
BROKEN = b"\xa1\xff"


@pytest.mark.parametrize(
    "before",
    [
        b"\x00",
        b"\xff",
        b"\xc0",
        b"\xc2",
        b"\xc3",
        b"\xc4\x02\xff\xff",
        b"\xc5\x00\x02\xff\xff",
        b"\xc6\x00\x00\x00\x02\xff\xff",
        b"\xc7\x01\x07\xff",
        b"\xc8\x00\x01\x07\xff",
        b"\xc9\x00\x00\x00\x01\x07\xff",
        b"\xca\xff\xff\xff\xff",
        b"\xcb" + b"\xff" * 8,
        b"\xcc\xff",
        b"\xcd\xff\xff",
        b"\xce" + b"\xff" * 4,
        b"\xcf" + b"\xff" * 8,
        b"\xd0\xff",
        b"\xd1\xff\xff",
        b"\xd2" + b"\xff" * 4,
        b"\xd3" + b"\xff" * 8,
        b"\xd4\x07\xff",
        b"\xd5\x07" + b"\xff" * 2,
        b"\xd6\xff" + b"\xff" * 4,
        b"\xd7\x07" + b"\xff" * 8,
        b"\xd8\x07" + b"\xff" * 16,
        b"\xa2\xc3\xa9",
        b"\xd9\x02\xc3\xa9",
        b"\xda\x00\x02\xc3\xa9",
        b"\xdb\x00\x00\x00\x02\xc3\xa9",
        b"\x80",
        b"\x81\x01\x02",
        b"\x90",
        b"\x92\x90\x91\x01",
        b"\xdc\x00\x01\x01",
        b"\xdd\x00\x00\x00\x01\x01",
        b"\xde\x00\x01\x01\x02",
        b"\xdf\x00\x00\x00\x01\x01\x02",
    ],
    ids=repr,
)
def test_every_form_of_message_pack_is_passed_over(before: bytes) -> None:
    """An array of it and of broken text: taken for shorter or longer, the rest would not fit."""
    assert cause_in_message_pack(b"\x92" + before + BROKEN) is Cause.NOT_UTF8
    assert cause_in_message_pack(b"\x81" + before + BROKEN) is Cause.NOT_UTF8
    # What stands behind the whole message is not part of it.
    assert cause_in_message_pack(before + BROKEN) is Cause.INVALID


@pytest.mark.parametrize("head", [b"\xa1", b"\xd9\x01", b"\xda\x00\x01", b"\xdb\x00\x00\x00\x01"])
def test_text_of_every_length_is_checked(head: bytes) -> None:
    assert cause_in_message_pack(head + b"\xff") is Cause.NOT_UTF8
    assert cause_in_message_pack(head) is Cause.INVALID


@pytest.mark.parametrize(
    ("time", "cause"),
    [
        (b"\xd6\xff" + b"\xff" * 4, Cause.INVALID),
        (b"\xd7\xff" + (999_999_999 << 34).to_bytes(8), Cause.INVALID),
        (b"\xd7\xff" + (1_000_000_000 << 34).to_bytes(8), Cause.OUT_OF_RANGE),
        (b"\xc7\x0c\xff" + bytes(4) + (253_402_300_799).to_bytes(8), Cause.INVALID),
        (b"\xc7\x0c\xff" + bytes(4) + (253_402_300_800).to_bytes(8), Cause.OUT_OF_RANGE),
        (
            b"\xc7\x0c\xff" + bytes(4) + (-62_135_596_801).to_bytes(8, signed=True),
            Cause.OUT_OF_RANGE,
        ),
        (b"\xc7\x0c\xff" + (1_000_000_000).to_bytes(4) + bytes(8), Cause.OUT_OF_RANGE),
        (b"\xd5\xff\x00\x00", Cause.OUT_OF_RANGE),
        (b"\xd5\x07\x00\x00", Cause.INVALID),
    ],
)
def test_a_timestamp_is_one_that_there_is(time: bytes, cause: Cause) -> None:
    assert cause_in_message_pack(time) is cause


def test_message_pack_is_as_deep_as_its_open_containers() -> None:
    flat = b"\xdc\x03\xe8" + b"\x90" * 1000
    assert cause_in_message_pack(flat) is Cause.INVALID
    assert cause_in_message_pack(b"\x91" * 256) is Cause.INVALID
    assert cause_in_message_pack(b"\x91" * 257) is Cause.TOO_DEEP


def test_only_the_beginning_is_looked_through() -> None:
    """An attacker's messages may be as large as any, and come as fast."""
    assert cause_in_json(b"[%s1e999" % (b"1," * 4_000)) is Cause.OUT_OF_RANGE
    assert cause_in_json(b"[%s1e999" % (b"1," * 4_100)) is Cause.INVALID
    assert cause_in_message_pack(b"\xdc\xff\xff" + bytes(8_100) + BROKEN) is Cause.NOT_UTF8
    assert cause_in_message_pack(b"\xdc\xff\xff" + bytes(8_200) + BROKEN) is Cause.INVALID


@pytest.mark.parametrize(
    ("encode", "decode", "cause_in"),
    [
        (msgspec.json.encode, msgspec.json.decode, cause_in_json),
        (msgspec.msgpack.encode, msgspec.msgpack.decode, cause_in_message_pack),
    ],
    ids=["json", "msgpack"],
)
def test_a_cause_is_found_in_anything(
    encode: Callable[[Any], bytes],
    decode: Callable[[bytes], Any],
    cause_in: Callable[[bytes], Cause],
) -> None:
    """Bytes changed at random: each has a cause, and a cause but "invalid" only if it's refused."""
    value = {"a": [1, -7, 2.5, None, True, "text", "é" * 40], "b": {"c": {"d": [[], {}]}}}
    valid = encode(value)
    for _ in range(2_000):
        data = bytearray(valid)
        for _ in range(random.randint(1, 3)):
            data[random.randrange(len(data))] = random.randrange(256)
        cause = cause_in(bytes(data))
        try:
            decode(bytes(data))
        except UNDECODABLE:
            continue
        assert cause is Cause.INVALID
