"""WebSocket frames as a server sends them (RFC 6455, section 5): pure functions, no I/O.

A server's frame is unmasked and never fragmented here, so it is a header of two to ten bytes and
the payload. A frame is built once and the same bytes may go to any number of sockets.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_FIN: Final = 0x80
#: Lengths up to this stand in the header's second byte; 126 and 127 announce a longer field.
_MAX_SHORT: Final = 125
_MAX_16_BIT: Final = 0xFFFF
_LENGTH_16_BIT: Final = 126
_LENGTH_64_BIT: Final = 127
#: A close frame's payload is at most 125 bytes, two of which are the code (section 5.5).
_MAX_REASON: Final = 123

#: The codes of the protocol itself, with those that IANA has registered since.
_REGISTERED_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015)})

_pack_short: Final = Struct("!BB").pack
_pack_16_bit: Final = Struct("!BBH").pack
_pack_64_bit: Final = Struct("!BBQ").pack


def frame(opcode: int, payload: bytes) -> bytes:
    """Return one whole frame, ready for the socket.

    Args:
        opcode: One of this module's opcodes.
        payload: The payload, already encoded.
    """
    length = len(payload)
    if length <= _MAX_SHORT:
        return _pack_short(_FIN | opcode, length) + payload
    if length <= _MAX_16_BIT:
        return _pack_16_bit(_FIN | opcode, _LENGTH_16_BIT, length) + payload
    return _pack_64_bit(_FIN | opcode, _LENGTH_64_BIT, length) + payload


def split(whole: bytes) -> Iterator[tuple[int, bytes]]:
    """Return opcode and payload of each frame made by `frame`, one behind the other.

    For a writer that frames anew.
    """
    start = 0
    while start < len(whole):
        opcode, length, header = whole[start] & 0xF, whole[start + 1], 2
        if length > _MAX_SHORT:
            header = 4 if length == _LENGTH_16_BIT else 10
            length = int.from_bytes(whole[start + 2 : start + header])
        end = start + header + length
        yield opcode, whole[start + header : end]
        start = end


def close(code: int, reason: str = "") -> bytes:
    """Return a close frame; the reason is cut to what a control frame holds."""
    words = reason.encode()[:_MAX_REASON].decode(errors="ignore").encode()
    return frame(CLOSE, code.to_bytes(2) + words)


def may_close_with(code: int) -> bool:
    """Return whether a close frame may have this code (section 7.4).

    1004 to 1006 and 1015 are never sent, the rest below 3000 is for those that are registered, and
    above 4999 there are none.
    """
    return code in _REGISTERED_CODES or 3000 <= code < 5000  # noqa: PLR2004 - section 7.4.2


def close_without_code() -> bytes:
    """Return the answer to a close frame that carried no code (section 7.1.5)."""
    return frame(CLOSE, b"")


#: The ping of the server's heartbeat: empty, the same bytes for every connection.
HEARTBEAT: Final = frame(PING, b"")
