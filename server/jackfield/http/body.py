"""Read the body of a request, inflated by no more than a route has asked for.

aiohttp would inflate every body as it comes, also one that nobody reads; `LimitedRequestHandler`
has it leave them as they are.
"""

import zlib
from typing import Final

from aiohttp import hdrs, web

from jackfield.wire.errors import Error

#: The windows by which zlib knows a format (RFC 9110, section 8.4.1), by the coding's name.
_WINDOWS: Final = {
    "gzip": 16 + zlib.MAX_WBITS,
    "x-gzip": 16 + zlib.MAX_WBITS,
    "deflate": zlib.MAX_WBITS,
}
#: What can be read, for ``Accept-Encoding`` (RFC 9110, section 12.5.3).
CODINGS: Final = "gzip, deflate"


class UnknownCodingError(Exception):
    """A body is compressed in a way that is not known here."""


async def read_body(request: web.Request, limit: int) -> bytes:
    """Return the body of a request.

    Args:
        request: The request.
        limit: Bytes that it may have, as it comes and inflated.

    Raises:
        UnknownCodingError: It is compressed in another way than `CODINGS`.
        Error: ``too_large``; ``invalid_message`` if it is not compressed as it says, or is broken.
    """
    coding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    if coding not in {"identity", "", *_WINDOWS}:
        raise UnknownCodingError
    body = b""
    try:
        async for part in request.content.iter_any():
            body += part
            if len(body) > limit:
                raise _too_large(limit)
    except web.RequestPayloadError:  # its chunks are not as RFC 9112 has them
        raise Error("invalid_message", "The body is broken.") from None
    return _inflate(body, coding, limit) if coding in _WINDOWS else body


def _inflate(body: bytes, coding: str, limit: int) -> bytes:
    stream = zlib.decompressobj(_WINDOWS[coding])
    try:
        inflated = stream.decompress(body, limit + 1)
    except zlib.error:
        raise _broken(coding) from None
    if len(inflated) > limit:
        raise _too_large(limit)
    if not stream.eof or stream.unused_data:
        raise _broken(coding)
    return inflated


def _too_large(limit: int) -> Error:
    return Error("too_large", f"The body is larger than {limit} bytes.", limit=limit)


def _broken(coding: str) -> Error:
    return Error("invalid_message", f"The body is not {coding}, as Content-Encoding says.")
