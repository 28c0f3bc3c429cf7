"""Who a connection belongs to."""

import unicodedata
from dataclasses import dataclass
from typing import Final

#: Characters of a user's id: ``user:<id>`` is the name of a topic, and must fit.
MAX_USER_LENGTH: Final = 200
#: Characters of a token's id: it is kept in Redis and in memory for as long as it is revoked.
MAX_TOKEN_ID_LENGTH: Final = 256


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a connection belongs to.

    Attributes:
        user: The user's id; None for somebody anonymous.
        scopes: What they may do.
        expires_at: When this runs out, in seconds since the epoch; None if never.
        token_id: What the token that proves it can be revoked by; None if by nothing.
        issued_at: When that token was made, in seconds since the epoch; None if it doesn't say.
    """

    user: str | None
    scopes: frozenset[str] = frozenset()
    expires_at: float | None = None
    token_id: str | None = None
    issued_at: float | None = None


ANONYMOUS: Final = Identity(user=None)


def is_user(text: object) -> bool:
    """Return whether a text can be a user's id: it must fit into a topic's name and a key."""
    return _is_id(text, MAX_USER_LENGTH)


def is_token_id(text: object) -> bool:
    """Return whether a text can be a token's id: any that is let in can be revoked."""
    return _is_id(text, MAX_TOKEN_ID_LENGTH)


def _is_id(text: object, longest: int) -> bool:
    """Whether a text can be an id, which must not look like another one.

    One that is not in normal form C is refused and not normalised: whoever made it may have another
    that is, and they would become one.
    """
    return (
        isinstance(text, str)
        and 1 <= len(text) <= longest
        and text.isprintable()  # no control characters, and no half of a surrogate pair
        and unicodedata.is_normalized("NFC", text)
    )
