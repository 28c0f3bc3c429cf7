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
        limit: Bytes that it may have, inflated.

    Raises:
        UnknownCodingError: It is compressed in another way than `CODINGS`.
        Error: ``too_large``; ``invalid_message`` if it is not compressed as it says, or is broken.
    """
    coding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    inflate = None
    if coding not in {"identity", ""}:
        if coding not in _WINDOWS:
            raise UnknownCodingError
        inflate = zlib.decompressobj(_WINDOWS[coding])
    body = b""
    try:
        async for part in request.content.iter_any():
            body += part if inflate is None else inflate.decompress(part, limit - len(body) + 1)
            if len(body) > limit:
                raise Error("too_large", f"The body is larger than {limit} bytes.", limit=limit)
    except zlib.error:
        raise _broken(coding) from None
    except web.RequestPayloadError:  # its chunks are not as RFC 9112 has them
        raise Error("invalid_message", "The body is broken.") from None
    if inflate is not None and not inflate.eof:
        raise _broken(coding)
    return body


def _broken(coding: str) -> Error:
    return Error("invalid_message", f"The body is not {coding}, as Content-Encoding says.")
