"""Turn the frames of a client that compresses into frames of one that doesn't: pure, no I/O.

aiohttp's reader inflates all that came at one read of the socket before anything is handled, and
lets pass what RFC 7692 forbids. So it isn't told of the compression: here one message after the
other is inflated, whenever there is room for it. Other frames go to the reader as they are.
"""

import sys
from typing import Final

from . import frames
from .client_frames import VIOLATION
from .deflate import COMPRESSED, Deflate, Inflater

#: The beginning of a frame of 2^62 bytes, which the reader refuses with 1009.
TOO_LARGE: Final = b"\x82\x7f" + (2**62).to_bytes(8)

_FIN: Final = 0x80
_OTHER_RESERVED: Final = 0x30
_OPCODE: Final = 0x0F
_CONTINUATION: Final = 0x0
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
#: How many bytes the length takes after the second byte, where it isn't in that, and which lengths
#: may be there: the shortest form must be used, and the highest bit is 0 (RFC 6455, section 5.2).
_LONGER: Final = {126: (2, range(126, 2**16)), 127: (8, range(2**16, 2**63))}


class DeflatedFrames:
    """The frames of one client, inflated one by one.

    Args:
        deflate: What was agreed on.
        message_bytes: Bytes of a message, at most.
    """

    __slots__ = (
        "_at",
        "_ended",
        "_inflater",
        "_limit",
        "_message",
        "_opcode",
        "_plain",
        "_received",
    )

    def __init__(self, deflate: Deflate, message_bytes: int) -> None:
        self._inflater = Inflater(deflate, message_bytes)
        # What can't be compressed grows: by five bytes for each block, of 8 KiB or more.
        self._limit = message_bytes + message_bytes // 512 + 64
        #: What has come, and how much of it is done with.
        self._received = bytearray()
        self._at = 0
        #: The compressed message that is under way, and its opcode; None if there is none.
        self._opcode: int | None = None
        self._message = bytearray()
        #: Whether a message is under way that isn't compressed.
        self._plain = False
        self._ended = False

    def receive(self, data: bytes) -> None:
        """Take bytes of the socket."""
        if self._ended:
            return
        del self._received[: self._at]
        self._at = 0
        self._received += data

    def take(self) -> bytes | None:
        """Return frames for the reader: the next one inflated, or one that it refuses instead.

        Returns:
            None until more has come; ``b""`` for a part of a message that isn't whole yet.
        """
        try:
            return self._next()
        except OverflowError:
            instead = TOO_LARGE
        except ValueError:
            instead = VIOLATION
        self.end()
        return instead

    def _next(self) -> bytes | None:
        """Return the same; raise ValueError or OverflowError for a frame that is refused."""
        data, at = self._received, self._at
        if len(data) < at + 2:
            return None
        flags, end = data[at + 1], at + 2
        length = flags & _LENGTH
        if not flags & _MASKED:
            raise ValueError("a frame is not masked")
        if length in _LONGER:
            size, lengths = _LONGER[length]
            end += size
            if len(data) < end:
                return None
            length = int.from_bytes(data[at + 2 : end])
            if length not in lengths:
                raise ValueError("a length is not in its shortest form")
        if length > self._limit:
            raise OverflowError("a frame is too large")
        end += 4 + length
        if len(data) < end:
            return None
        self._at = end
        return self._handle(bytes(data[at:end]), length)

    def _handle(self, whole: bytes, length: int) -> bytes:
        """Return what the reader gets for one frame."""
        first = whole[0]
        opcode, fin = first & _OPCODE, bool(first & _FIN)
        if opcode >= frames.CLOSE:  # may come between those of a message; with RSV1, it is refused
            return whole
        is_compressed = self._opcode is not None
        if opcode != _CONTINUATION and first & COMPRESSED and not (is_compressed or self._plain):
            self._opcode = opcode
            first ^= COMPRESSED
        elif not is_compressed:
            self._plain = not fin
            return whole
        elif opcode != _CONTINUATION:
            raise ValueError("a message begins within another")
        if first & (COMPRESSED | _OTHER_RESERVED):
            raise ValueError("a reserved bit is set")
        return self._inflate(_unmask(whole, length), fin=fin)

    def _inflate(self, payload: bytes, *, fin: bool) -> bytes:
        self._message += self._inflater.add(payload)
        if not fin:
            return b""
        self._message += self._inflater.end()
        opcode, self._opcode = self._opcode, None
        assert opcode is not None  # noqa: S101 - a message is under way
        message = frames.frame(opcode, bytes(self._message))
        self._message.clear()
        return message

    def end(self) -> None:
        """Take no more, and forget what has come."""
        self._ended = True
        self._received.clear()
        self._message.clear()
        self._at = 0


def _unmask(whole: bytes, length: int) -> bytes:
    """Return the payload of a frame; its mask is the four bytes before (section 5.3)."""
    start = len(whole) - length
    mask = (whole[start - 4 : start] * (length // 4 + 1))[:length]
    order = sys.byteorder
    masked = int.from_bytes(whole[start:], order) ^ int.from_bytes(mask, order)
    return masked.to_bytes(length, order)
