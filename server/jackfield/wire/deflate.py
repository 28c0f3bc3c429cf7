"""permessage-deflate (RFC 7692): agree on it, compress and inflate messages; pure, no I/O."""

import re
import zlib
from collections.abc import Iterable
from typing import Final, NamedTuple

#: The bit of a frame's first byte that marks the first frame of a compressed message (section 6).
COMPRESSED: Final = 0x40

_NAME: Final = "permessage-deflate"
#: One parameter of an extension: a name, and a value that may be quoted (RFC 6455, section 9.1).
_PARAMETER: Final = re.compile(r'\s*([a-z_]+)\s*(?:=\s*(?:"(\d{1,2})"|(\d{1,2}))\s*)?', re.ASCII)
_SERVER_BITS: Final = "server_max_window_bits"
_CLIENT_BITS: Final = "client_max_window_bits"
_SERVER_NO_TAKEOVER: Final = "server_no_context_takeover"
_CLIENT_NO_TAKEOVER: Final = "client_no_context_takeover"

#: What a window may be, in bits, and the least one that zlib compresses with.
_MIN_BITS: Final = 8
MIN_BITS: Final = 9
MAX_BITS: Final = 15

#: Makes messages of 1.5 KB a fifth smaller than the fastest level does, in twice the time.
_LEVEL: Final = zlib.Z_DEFAULT_COMPRESSION
#: Of 1 to 9: 16 KiB for a compressor's tables. zlib's default, 8, takes 128 KiB, and makes such
#: messages no smaller.
_MEMORY_LEVEL: Final = 5

#: What ends every compressed message, and is not sent (section 7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"
#: A message may have this many final blocks, each of which ends a stream. Section 7.2.3.4 shows
#: one; each takes a new inflater, so that many would be dear.
_MAX_STREAMS: Final = 4


class Deflate(NamedTuple):
    """What a client and the server have agreed on.

    Attributes:
        server_bits: The window that the server compresses with, in bits.
        client_bits: The window that the client compresses with.
        server_takeover: Whether the server's next message may refer to earlier ones.
        client_takeover: The same for the client.
        tells_client_bits: Whether the client lets the server tell it what window to use.
    """

    server_bits: int
    client_bits: int
    server_takeover: bool
    client_takeover: bool
    tells_client_bits: bool

    @property
    def header(self) -> str:
        """The server's answer, for ``Sec-WebSocket-Extensions``."""
        parts = [_NAME, f"{_SERVER_BITS}={self.server_bits}"]
        if self.tells_client_bits:
            parts.append(f"{_CLIENT_BITS}={self.client_bits}")
        if not self.server_takeover:
            parts.append(_SERVER_NO_TAKEOVER)
        if not self.client_takeover:
            parts.append(_CLIENT_NO_TAKEOVER)
        return "; ".join(parts)


def agree(headers: Iterable[str], window: int) -> Deflate | None:
    """Return what to agree on: the first of a client's offers that can be met.

    Args:
        headers: The values of ``Sec-WebSocket-Extensions``.
        window: The largest window on offer, in bits: `MIN_BITS` to `MAX_BITS`.
    """
    offers = (offer for header in headers for offer in header.split(","))
    return next((agreed for offer in offers if (agreed := _meet(offer, window))), None)


def _meet(offer: str, window: int) -> Deflate | None:
    """Return what to answer to an offer; None if it can't be met, or is for something else."""
    name, *parameters = offer.split(";")
    if name.strip() != _NAME:
        return None
    asked: dict[str, int | None] = {}
    for parameter in parameters:
        match = _PARAMETER.fullmatch(parameter)
        if match is None or match[1] in asked:
            return None
        digits = match[2] or match[3]
        asked[match[1]] = None if digits is None else int(digits)
    server_bits = asked.pop(_SERVER_BITS, MAX_BITS)
    tells_client_bits = _CLIENT_BITS in asked
    client_bits = asked.pop(_CLIENT_BITS, None)
    takeover = {}
    for side in (_SERVER_NO_TAKEOVER, _CLIENT_NO_TAKEOVER):
        takeover[side] = side not in asked
        if asked.pop(side, None) is not None:
            return None
    client_bits = MAX_BITS if client_bits is None else client_bits
    if asked or server_bits is None or not MIN_BITS <= server_bits <= MAX_BITS:
        return None
    if not _MIN_BITS <= client_bits <= MAX_BITS:
        return None
    return Deflate(
        min(server_bits, window),
        min(client_bits, window) if tells_client_bits else MAX_BITS,
        takeover[_SERVER_NO_TAKEOVER],
        takeover[_CLIENT_NO_TAKEOVER],
        tells_client_bits,
    )


class Compressor:
    """Compresses the messages of one connection, in order.

    Args:
        deflate: What was agreed on.
    """

    __slots__ = ("_deflate", "_stream")

    def __init__(self, deflate: Deflate) -> None:
        self._deflate = deflate
        self._stream: zlib._Compress | None = None

    def add(self, part: bytes) -> bytes:
        """Return what can be sent of a message after one more part of it."""
        if self._stream is None:
            self._stream = zlib.compressobj(
                _LEVEL, zlib.DEFLATED, -self._deflate.server_bits, _MEMORY_LEVEL
            )
        return self._stream.compress(part)

    def end(self) -> bytes:
        """Return the rest of a message; to be called after its last part."""
        assert self._stream is not None  # noqa: S101 - see above
        # zlib has nothing to flush for an empty message; its form is of section 7.2.3.6.
        rest = self._stream.flush(zlib.Z_SYNC_FLUSH).removesuffix(_TAIL) or b"\x00"
        if not self._deflate.server_takeover:
            self._stream = None
        return rest


class Inflater:
    """Inflates the messages of one client, in order.

    Args:
        deflate: What was agreed on.
        limit: Bytes of a message, at most.
    """

    __slots__ = ("_deflate", "_left", "_limit", "_stream", "_streams")

    def __init__(self, deflate: Deflate, limit: int) -> None:
        self._deflate = deflate
        self._limit = limit
        self._left = limit
        self._stream: zlib._Decompress | None = None
        self._streams = 0

    def add(self, part: bytes) -> bytes:
        """Inflate one more part of a message.

        Raises:
            OverflowError: The message is larger than the limit; no more of it was inflated.
            ValueError: It is not compressed as was agreed.
        """
        inflated = b""
        while part:
            if self._stream is None or self._stream.eof:
                self._streams += 1
                if self._streams > _MAX_STREAMS:
                    raise ValueError("a message of too many streams")
                self._stream = zlib.decompressobj(-self._deflate.client_bits)
            try:
                inflated += self._stream.decompress(part, self._left - len(inflated) + 1)
            except zlib.error as exc:
                raise ValueError(str(exc)) from None
            if len(inflated) > self._left:
                raise OverflowError("the message is too large")
            part = self._stream.unused_data
        self._left -= len(inflated)
        return inflated

    def end(self) -> bytes:
        """Inflate what is left of a message; raises as `add`."""
        rest = self.add(_TAIL)
        self._left = self._limit
        self._streams = 0
        if not self._deflate.client_takeover:
            self._stream = None
        return rest
