"""`Payer`: whose shares of what is kept in Redis a connection's are."""

from typing import Final

from .connection import Connection
from .permits import address_key
from .share import Share, TopicCharge
from .slot import Slot


def share_name(connection: Connection) -> str | None:
    """Return what the share of a client's user, or address, is called on all nodes.

    None for an anonymous client of this machine, which has a share of its own alone.
    """
    if connection.user is not None:
        return f"u:{connection.user}"
    address = address_key(connection.remote)
    return None if address is None else f"ip:{address}"


class Payer:
    """Whose shares a connection's are.

    Attributes:
        user: The user that they were found for.
        shares: The shares; empty before they are first asked for.
        topics: What the first of them has published to topics, by their channels.
        held: Bytes that are kept for as long as the connection lives, by what they are.
    """

    __slots__ = ("held", "shares", "topics", "user")

    def __init__(self) -> None:
        self.user: str | None = None
        self.shares: tuple[Share, ...] = ()
        self.topics: dict[str, TopicCharge] = {}
        self.held: dict[str, int] = {}


PAYER: Final = Slot("shares", Payer)
