"""The files of pages: read once, compressed once, and served with the headers that keep them safe.

A request names one of the files that were there at the start, or there is nothing for it: no path
of a request ever becomes a path of the file system.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import hdrs, web

#: By the end of a file's name. What has another ending is not for pages.
_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

#: A page loads from its own server only, runs nothing that stands in its text, makes no markup of
#: text, sends no form anywhere, and is in nobody's frame. WebSockets to its server are of 'self'
#: too (Content Security Policy Level 3, section 6.7.2.8).
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

_HEADERS: Final = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    # Kept, and asked about each time: after an upgrade nobody has half of the old page.
    hdrs.CACHE_CONTROL: "no-cache",
}


#: Of what a browser can show by itself. For a script or a style they mean nothing, and a page loads
#: so many of those that they would be a seventh of it.
_DOCUMENT_HEADERS: Final = {
    **_HEADERS,
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
_DOCUMENTS: Final = ("text/html", "image/svg+xml")


@dataclass(frozen=True)
class Asset:
    """One file.

    Attributes:
        content_type: Its media type.
        body: What is in it.
    """

    content_type: str
    body: bytes

    @cached_property
    def compressed(self) -> bytes:
        """The body by gzip (RFC 1952), without a time: it is the same on every node."""
        return gzip.compress(self.body, mtime=0)

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits that no other content has."""
        return hashlib.sha256(self.body).hexdigest()[:32]

    def respond(self, request: web.Request) -> web.Response:
        """Answer a GET or a HEAD (RFC 9110).

        Args:
            request: What encodings it takes, and which version it has already.
        """
        zipped = _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
        # Two encodings of one file are two representations, each with its own tag.
        tag = f'"{self.digest}{"-gzip" if zipped else ""}"'
        safe = _DOCUMENT_HEADERS if self.content_type in _DOCUMENTS else _HEADERS
        headers = {**safe, hdrs.ETAG: tag, hdrs.VARY: hdrs.ACCEPT_ENCODING}
        if _names(request.headers.get(hdrs.IF_NONE_MATCH, ""), tag):
            return web.Response(status=304, headers=headers)
        headers[hdrs.CONTENT_TYPE] = f"{self.content_type}; charset=utf-8"
        if zipped:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=self.compressed if zipped else self.body, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    for offered in accepted.lower().split(","):
        coding, _, quality = offered.replace(" ", "").partition(";q=")
        if coding in ("gzip", "*"):
            return quality.strip("0.") != "" or not quality
    return False


def _names(condition: str, tag: str) -> bool:
    return any(each.strip().removeprefix("W/") in ("*", tag) for each in condition.split(","))


def read_assets(folder: Traversable, prefix: str = "") -> dict[str, Asset]:
    """Return every file of a folder that pages may load, by its path from there.

    Args:
        folder: Of a package's data.
        prefix: What the paths begin with.
    """
    assets: dict[str, Asset] = {}
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        _, dot, suffix = entry.name.rpartition(".")
        if entry.is_dir():
            assets |= read_assets(entry, f"{name}/")
        elif dot + suffix in _TYPES:
            assets[name] = Asset(_TYPES[dot + suffix], entry.read_bytes())
    return assets
