"""One-time tickets in Redis: each is read once, by whichever node is first.

They are kept by their digest, so that whoever can read in Redis can't connect by what is there.
"""

import hashlib
from typing import Any, Final

import msgspec

from jackfield.redis.client import RedisClient

from .arguments import milliseconds
from .keys import Keys
from .lua import load

_WRITE: Final = load("write_ticket", "clock")

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class TicketStore:
    """The tickets that all nodes share.

    Args:
        client: The client.
        keys: The keys of this node.
    """

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def write(self, ticket: str, grant: dict[str, Any], ttl: float) -> None:
        """Write a ticket.

        Args:
            ticket: The ticket.
            grant: What it says; not empty.
            ttl: Seconds that it can be used for.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        await self._client.run(
            _WRITE, [self._key(ticket)], [milliseconds(ttl), _encode(grant)[:-1]]
        )

    async def take(self, ticket: str) -> dict[str, Any] | None:
        """Read and remove a ticket, in one step.

        Args:
            ticket: What may be one.

        Returns:
            What it says, with ``issued_at`` by the clock of Redis in seconds since the epoch; None
            if there is none, or none any more.

        Raises:
            Error: ``unavailable``: Redis is away, and the ticket may be used up.
        """
        grant = await self._client.execute("GETDEL", self._key(ticket))
        return None if grant is None else _decode(grant)

    def _key(self, ticket: str) -> str:
        return self._keys.ticket(hashlib.sha256(ticket.encode()).hexdigest())
