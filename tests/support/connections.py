"""A look at the state of connections in Redis, behind the server's back."""

from typing import TypedDict

from jackfield.redis.client import RedisClient
from jackfield.store.keys import Keys

_OWN_FIELDS = ("user", "node", "remote", "connected_at", "seen_at")


class StoredConnection(TypedDict):
    """A connection as Redis has it; ``fields`` are those of plugins."""

    id: str
    node: str
    user: str | None
    remote: str
    connected_at: float
    seen_at: float
    fields: dict[str, bytes]


async def stored_connection(
    client: RedisClient, keys: Keys, connection_id: str
) -> StoredConnection | None:
    """A connection of a node; None if Redis has none of that id."""
    found = await client.execute("HGETALL", keys.connection(connection_id))
    if not found:
        return None
    fields: dict[str, bytes] = {str(name, "utf-8"): value for name, value in found.items()}
    own = {name: str(fields.pop(name), "utf-8") for name in _OWN_FIELDS}
    return StoredConnection(
        id=connection_id,
        node=own["node"],
        user=own["user"] or None,
        remote=own["remote"],
        connected_at=float(own["connected_at"]),
        seen_at=float(own["seen_at"]),
        fields=fields,
    )
