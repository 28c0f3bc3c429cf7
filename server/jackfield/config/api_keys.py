"""The keys of the server API: a file with one key a line, and behind it what it may do."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from marshmallow import ValidationError, fields

#: What a key may be for: an endpoint each. ``*`` is all of them.
API_SCOPES: Final = frozenset({"tickets", "revoke", "disconnect"})

#: Characters: 128 random bits in hexadecimal.
_SHORTEST: Final = 32


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of the server API.

    Attributes:
        digest: The SHA-256 of the key: the key itself is not kept.
        scopes: What it may do.
    """

    digest: bytes = field(repr=False)
    scopes: frozenset[str]

    def fits(self, digest: bytes) -> bool:
        """Return whether this is the key of a digest; takes as long for any."""
        return hmac.compare_digest(self.digest, digest)


class ApiKeysField(fields.Field[tuple[ApiKey, ...]]):
    """The path of a file of keys, loaded as the keys in it; its faults don't quote them."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> tuple[ApiKey, ...]:
        del attr, data, kwargs
        if not isinstance(value, str) or "\0" in value:
            raise ValidationError("Not a valid path.")
        try:
            lines = Path(value).read_text("utf-8").splitlines()
        except OSError as exc:
            raise ValidationError(f"The file cannot be read: {exc.strerror}.") from None
        except UnicodeDecodeError:  # its words quote the content
            raise ValidationError("The file is not UTF-8 text.") from None
        keys = tuple(_read(lines))
        if not keys:
            raise ValidationError("There is no key in the file.")
        return keys


def _read(lines: list[str]) -> Iterator[ApiKey]:
    known: set[bytes] = set()
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        key, scopes = words[0], frozenset(words[1:])
        if len(key) < _SHORTEST:
            raise ValidationError(
                f"Line {number}: a key has {_SHORTEST} characters at least; "
                "'openssl rand -hex 32' makes one."
            )
        unknown = sorted(scopes - API_SCOPES - {"*"})
        if unknown or not scopes:
            # Not quoted: it may be a key.
            raise ValidationError(
                f"Line {number}: behind a key must stand what it may do: "
                f"{', '.join(sorted(API_SCOPES))}, or * for all."
            )
        digest = hashlib.sha256(key.encode()).digest()
        if digest in known:
            raise ValidationError(f"Line {number}: this key has a line already.")
        known.add(digest)
        yield ApiKey(digest, API_SCOPES if "*" in scopes else scopes)
