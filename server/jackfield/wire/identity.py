"""Who a connection belongs to."""

from dataclasses import dataclass
from typing import Final

#: Characters of a user's id: ``user:<id>`` is the name of a topic, and must fit.
MAX_USER_LENGTH: Final = 200


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
    return (
        isinstance(text, str)
        and 1 <= len(text) <= MAX_USER_LENGTH
        and text.isprintable()  # no control characters, and no half of a surrogate pair
    )
