"""Why bytes are no message: found in the bytes, as decoders differ in what they raise and say.

Who sends what is no message must not keep the server busy with it: only the beginning is looked
through, in some 3 ms at worst, about as long as it takes to decode the largest message there may
be. What is wrong behind that is "not valid".
"""

import re
from enum import Enum, auto
from math import isinf
from typing import Final, NamedTuple

import msgspec

#: All that msgspec has raised for bytes that it can't decode. Which of these is its own choice: for
#: the same bytes it has changed from one version to the next.
UNDECODABLE: Final = (msgspec.MsgspecError, ValueError, TypeError, ArithmeticError, RecursionError)

#: Bytes that are looked through; the longest number that there may be fits in.
_LOOKED_THROUGH: Final = 8_192
#: Objects and lists within each other, past which a decoder may give up: all take several hundred.
_MAX_NESTING: Final = 256
#: Digits of the longest integer that Python reads, and so the decoder.
_MAX_DIGITS: Final = 4_300
#: The type of MessagePack's extension for a time.
_TIMESTAMP: Final = 0xFF
#: The first and the last second of the years 1 to 9999, since 1970.
_FIRST: Final = -62_135_596_800
_LAST: Final = 253_402_300_799
_MAX_NANOSECONDS: Final = 999_999_999

#: A string of JSON; the last may have no end.
_JSON_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_JSON_BRACKET: Final = re.compile(rb"[\[\]{}]")
_JSON_NUMBER: Final = re.compile(rb"-?([0-9]++)(\.[0-9]++)?([eE][+-]?[0-9]++)?")


class Cause(Enum):
    """Why bytes can't be decoded."""

    NOT_UTF8 = auto()
    TOO_DEEP = auto()
    OUT_OF_RANGE = auto()
    INVALID = auto()


def is_utf8(text: bytes) -> bool:
    """Whether bytes are UTF-8 (RFC 3629)."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def cause_in_json(data: bytes) -> Cause:
    """Say why bytes can't be decoded as JSON (RFC 8259).

    Args:
        data: Text in UTF-8 that the decoder has refused.
    """
    rest = _JSON_STRING.sub(b'""', data[:_LOOKED_THROUGH])
    depth = 0
    for bracket in _JSON_BRACKET.finditer(rest):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > _MAX_NESTING:
            return Cause.TOO_DEEP
    if any(map(_is_out_of_range, _JSON_NUMBER.finditer(rest))):
        return Cause.OUT_OF_RANGE
    return Cause.INVALID


def _is_out_of_range(number: re.Match[bytes]) -> bool:
    digits, fraction, exponent = number.groups()
    if fraction is None and exponent is None:
        return len(digits) > _MAX_DIGITS
    return isinf(float(number[0]))


#: What a byte of MessagePack begins. Plain numbers: they are compared for each value there is.
_OTHER, _CONTAINER, _TEXT, _EXTENSION, _INVALID = range(5)


class _Head(NamedTuple):
    """A byte of MessagePack that begins a value.

    Attributes:
        form: What it begins, as above.
        size: The bytes that follow, or the values of a container.
        length_bytes: Bytes of a length, which stands first and is added to the size.
        each: How often it is added: twice for the keys and values of a map.
    """

    form: int
    size: int = 0
    length_bytes: int = 0
    each: int = 1


_ALONE: Final = _Head(_OTHER)
#: By their bytes, as https://github.com/msgpack/msgpack/blob/master/spec.md has them.
_HEADS: Final = (
    *[_ALONE] * 0x80,
    *(_Head(_CONTAINER, 2 * length) for length in range(16)),
    *(_Head(_CONTAINER, length) for length in range(16)),
    *(_Head(_TEXT, length) for length in range(32)),
    *(_ALONE, _Head(_INVALID), _ALONE, _ALONE),
    *(_Head(_OTHER, 0, length_bytes) for length_bytes in (1, 2, 4)),
    *(_Head(_EXTENSION, 1, length_bytes) for length_bytes in (1, 2, 4)),
    *(_Head(_OTHER, size) for size in (4, 8, 1, 2, 4, 8, 1, 2, 4, 8)),
    *(_Head(_EXTENSION, 1 + length) for length in (1, 2, 4, 8, 16)),
    *(_Head(_TEXT, 0, length_bytes) for length_bytes in (1, 2, 4)),
    *(_Head(_CONTAINER, 0, length_bytes) for length_bytes in (2, 4)),
    *(_Head(_CONTAINER, 0, length_bytes, 2) for length_bytes in (2, 4)),
    *[_ALONE] * 0x20,
)


def cause_in_message_pack(data: bytes) -> Cause:
    """Say why bytes can't be decoded as MessagePack: the first cause that stands in them.

    Args:
        data: What the decoder has refused.
    """
    position = 0
    due = [1]  # the values that are still to come, in each container that is open
    end = len(data)
    beginning = min(end, _LOOKED_THROUGH)
    while due and position < beginning:
        due[-1] -= 1
        form, size, length_bytes, each = _HEADS[data[position]]
        position += 1
        if length_bytes:
            size += each * int.from_bytes(data[position : position + length_bytes])
            position += length_bytes
        if form == _CONTAINER:
            if len(due) > _MAX_NESTING:
                return Cause.TOO_DEEP
            due.append(size)
        elif size:
            if position + size > end:
                break
            if cause := _cause_in_value(form, data[position : position + size]):
                return cause
            position += size
        elif form == _INVALID:
            break
        while due and due[-1] == 0:
            due.pop()
    return Cause.INVALID


def _cause_in_value(form: int, content: bytes) -> Cause | None:
    if form == _TEXT and not is_utf8(content):
        return Cause.NOT_UTF8
    if form == _EXTENSION and content[0] == _TIMESTAMP and not _is_time(content[1:]):
        return Cause.OUT_OF_RANGE
    return None


def _is_time(content: bytes) -> bool:
    """Whether a timestamp has a length that there is, and is one of the years 1 to 9999."""
    number = int.from_bytes(content)
    match len(content):
        case 4:
            return True
        case 8:
            return number >> 34 <= _MAX_NANOSECONDS
        case 12:
            seconds = int.from_bytes(content[4:], signed=True)
            return number >> 64 <= _MAX_NANOSECONDS and _FIRST <= seconds <= _LAST
    return False
