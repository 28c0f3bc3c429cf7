"""Check the frames of a client before aiohttp's reader takes them: pure, no I/O.

aiohttp's reader takes frames that are not masked, and lengths in more bytes than they need.
RFC 6455 forbids both (sections 5.1 and 5.2). Here only the header of each frame is looked at, which
costs a fraction of what a message does; whatever else is wrong with a frame, the reader refuses.
"""

from collections.abc import Callable
from typing import Final, Protocol


class FrameReader(Protocol):
    """What frames are fed to; see `aiohttp.http_websocket.WebSocketReader`."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes of the socket."""

    def feed_eof(self) -> None:
        """Note that no more will come."""


#: A frame with reserved bits, for which the reader closes with 1002. It takes the place of a frame
#: that is refused here, so that all that came before is handled first.
VIOLATION: Final = b"\xf0\x80"

_MASK_BIT: Final = 0x80
_MASK: Final = 4
#: What the second byte of a header says if the length stands in the two, or eight, bytes after it.
_MASKED_16_BIT: Final = _MASK_BIT | 126
_MASKED_64_BIT: Final = _MASK_BIT | 127
#: The least lengths that need these: the shortest form must be used. The highest bit is always 0.
_LEAST_16_BIT: Final = 126
_LEAST_64_BIT: Final = 2**16
_MAX_LENGTH: Final = 2**63 - 1

#: Past the end of whatever has come: such a header is looked at more closely.
_FAR: Final = 2**64
#: How far it is from the second byte of a header, by its value, to that of the next one.
_STEPS: Final = (
    *[_FAR] * _MASK_BIT,
    *(2 + _MASK + length for length in range(_LEAST_16_BIT)),
    0,  # the length stands in two bytes: see `_STEPS_16_BIT`
    _FAR,
)
#: How far it is without the lower byte of such a length, by the higher one.
_STEPS_16_BIT: Final = tuple(2 + 2 + _MASK + (higher << 8) for higher in range(256))
_LEAST_STEP_16_BIT: Final = 2 + 2 + _MASK + _LEAST_16_BIT


class FrameCheck:
    """Refuses frames that are not masked, or say their length in too many bytes.

    Args:
        reader: What reads the frames.
    """

    __slots__ = ("_feed", "_header", "_next", "_reader")

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader  # its queue holds it by a weak reference only
        self._feed: Callable[[bytes], tuple[bool, bytes]] = reader.feed_data
        #: Where the second byte of the next header is, counted from what comes next.
        self._next = 1
        #: The beginning of a header, kept until the rest of it comes.
        self._header = b""

    def feed_eof(self) -> None:
        """Note that no more will come."""
        self._reader.feed_eof()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Check the headers in what has come, and hand it to the reader.

        Returns:
            What aiohttp takes for "go on".
        """
        if self._header:
            data, self._header = self._header + data, b""
        at, size = self._next, len(data)
        # For every message of every client: a few operations for each frame, and no call.
        steps, steps_16_bit = _STEPS, _STEPS_16_BIT
        try:
            while at < size:
                step = steps[data[at]]
                if not step:
                    step = steps_16_bit[data[at + 1]] + data[at + 2]
                    if step < _LEAST_STEP_16_BIT:
                        return self._refuse(data, at)
                at += step
        except IndexError:
            return self._wait_for_header(data, at)
        if at >= _FAR:
            return self._look_closer(data, at - step)
        if at == size:
            return self._wait_for_header(data, at)
        self._next = at - size
        self._feed(data)
        return False, b""

    def _look_closer(self, data: bytes, at: int) -> tuple[bool, bytes]:
        """Check a header that is not masked, or has its length in eight bytes, and go on."""
        if data[at] != _MASKED_64_BIT:
            return self._refuse(data, at)
        if at + 8 >= len(data):
            return self._wait_for_header(data, at)
        length = int.from_bytes(data[at + 1 : at + 9])
        if not _LEAST_64_BIT <= length <= _MAX_LENGTH:
            return self._refuse(data, at)
        end = at - 1 + 2 + 8 + _MASK + length
        self._feed(data[:end])
        self._next = max(0, end - len(data)) + 1
        return self.feed_data(data[end:])

    def _wait_for_header(self, data: bytes, at: int) -> tuple[bool, bytes]:
        """Keep the beginning of a header until the rest of it comes.

        The reader gets none of it: what takes its place, if it is refused, must begin where the
        reader expects a frame.
        """
        self._header = data[at - 1 :]
        self._next = 1
        self._feed(data[: at - 1])
        return False, b""

    def _refuse(self, data: bytes, at: int) -> tuple[bool, bytes]:
        """Have the reader close with 1002 after all that came before, and take no more."""
        self._feed(data[: at - 1] + VIOLATION)
        self._feed = _drop
        return False, b""


def _drop(_: bytes) -> tuple[bool, bytes]:
    return False, b""
