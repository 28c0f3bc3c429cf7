"""The Lua scripts of connections and nodes, as functions with named arguments.

The clock of every script is the server's. A script without the flag ``allow-oom`` is refused when
memory is full: those two that write new state, and no others.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from jackfield.redis.client import Argument, RedisClient, Script

from .arguments import flag, flat, milliseconds, pairs, rows
from .lua import load


class UserEntry(NamedTuple):
    """How a connection stands with its user: the key of the user's sorted set, and the member."""

    key: str
    member: str


class ConnectionHash(NamedTuple):
    """A connection as it is written: its id, its user or ``""``, and its other fields."""

    id: str
    user: str
    fields: Mapping[str, str | bytes]


_REGISTER_NODE: Final = load("register_node", "clock")
_ANNOUNCE_NODE: Final = load("announce_node", "clock")
_SILENT_NODES: Final = load("silent_nodes", "clock")
_FORGET_NODE: Final = load("forget_node", "clock")
_REFRESH_CONNECTIONS: Final = load("refresh_connections", "clock")
_WRITE_CONNECTIONS: Final = load("write_connections", "clock")
_SET_FIELDS: Final = load("set_fields")
_REMOVE_CONNECTIONS: Final = load("remove_connections")
_SWEEP_INDEX: Final = load("sweep_index")
_REAP_CONNECTIONS: Final = load("reap_connections")
_REFRESH_USERS: Final = load("refresh_users", "clock")
_REMOVE_FROM_USERS: Final = load("remove_from_users")
_USER_CONNECTIONS: Final = load("user_connections", "clock")


async def register_node(
    client: RedisClient,
    key: str,
    mark: str,
    *,
    ttl: float,
    started_at: str | None,
    fields: Mapping[str, str | int],
) -> tuple[str, bool]:
    """Write a node's hash.

    Returns:
        When it started, which is now if None is given; and whether others have taken it for dead.
    """
    started, reaped = await client.run(
        _REGISTER_NODE, [key, mark], [milliseconds(ttl), started_at or "", *pairs(fields)]
    )
    return str(started, "ascii"), reaped == 1


async def announce_node(client: RedisClient, key: str, *, node: str, ttl: float) -> None:
    """Enter a node's heartbeat among those of all nodes; ``ttl`` is the whole set's."""
    await client.run(_ANNOUNCE_NODE, [key], [node, milliseconds(ttl)])


async def silent_nodes(client: RedisClient, key: str, *, silence: float) -> list[str]:
    """The nodes whose last heartbeat is longer ago than ``silence``."""
    reply = await client.run(_SILENT_NODES, [key], [milliseconds(silence)])
    return [str(node, "utf-8") for node in reply]


async def forget_node(client: RedisClient, key: str, *, node: str, silence: float) -> None:
    """Remove a node from the set of nodes, unless it has come back."""
    await client.run(_FORGET_NODE, [key], [node, milliseconds(silence)])


async def refresh_connections(
    client: RedisClient, index: str, keys: Sequence[str], *, ttl: float, index_ttl: float
) -> list[int]:
    """Refresh connections of one node; returns the indices of those that had gone."""
    reply = await client.run(
        _REFRESH_CONNECTIONS, [index, *keys], [milliseconds(ttl), milliseconds(index_ttl)]
    )
    return [number - 1 for number in reply]


async def write_connections(
    client: RedisClient,
    index: str,
    connections: Mapping[str, ConnectionHash],
    entries: Sequence[UserEntry],
    *,
    replace: bool,
    ttl: float,
    index_ttl: float,
) -> None:
    """Write connections of one node whole, and enter them with their users.

    Args:
        client: The client.
        index: The key of the node's index.
        connections: What to write by the key to write it to.
        entries: What to enter, of the index's slot.
        replace: Whether to write those that are there as well.
        ttl: Of each connection, and of its entry.
        index_ttl: Of the index.
    """
    hashes = (
        (each.id, each.user, 2 * len(each.fields), *pairs(each.fields))
        for each in connections.values()
    )
    await client.run(
        _WRITE_CONNECTIONS,
        [index, *connections, *(entry.key for entry in entries)],
        [
            flag(replace),
            milliseconds(ttl),
            milliseconds(index_ttl),
            len(connections),
            *flat(hashes),
            *(entry.member for entry in entries),
        ],
    )


async def set_fields(
    client: RedisClient, key: str, *, removed: Sequence[str], changed: Mapping[str, bytes]
) -> bool:
    """Change fields of a connection; False if it has gone, and nothing was done."""
    return bool(await client.run(_SET_FIELDS, [key], [len(removed), *removed, *pairs(changed)]))


async def remove_connections(
    client: RedisClient,
    index: str,
    keys: Sequence[str],
    entries: Sequence[UserEntry],
    *,
    ids: Sequence[str],
) -> None:
    """Remove connections of one node, and their entries that are of the index's slot."""
    await client.run(
        _REMOVE_CONNECTIONS,
        [index, *keys, *(entry.key for entry in entries)],
        [len(ids), *ids, *(entry.member for entry in entries)],
    )


async def sweep_index(
    client: RedisClient, index: str, keys: Sequence[str], *, ids: Sequence[str]
) -> None:
    """Take connections off the index of a node whose hash has gone."""
    await client.run(_SWEEP_INDEX, [index, *keys], ids)


async def reap_connections(
    client: RedisClient,
    node: str,
    index: str,
    mark: str,
    keys: Sequence[str],
    *,
    ids: Sequence[str],
    mark_ttl: float,
) -> list[tuple[str, str]] | None:
    """Remove connections of a dead node, and leave a mark that tells it.

    Returns:
        Id and user, or ``""``, of those that were still there and that nobody else will be told of;
        None if the node lives.
    """
    reply = await client.run(
        _REAP_CONNECTIONS, [node, index, mark, *keys], [milliseconds(mark_ttl), *ids]
    )
    if reply is None:
        return None
    return [(str(each, "utf-8"), str(user, "utf-8")) for each, user in rows(reply, 2)]


async def refresh_users(client: RedisClient, entries: Iterable[UserEntry], *, ttl: float) -> None:
    """Enter connections with their users, or refresh them."""
    await _run_by_slot(client, _REFRESH_USERS, entries, [milliseconds(ttl)])


async def remove_from_users(client: RedisClient, entries: Iterable[UserEntry]) -> None:
    """Remove connections from their users."""
    await _run_by_slot(client, _REMOVE_FROM_USERS, entries)


async def user_connections(client: RedisClient, key: str) -> list[str]:
    """The members of a user's key, without the expired."""
    return [str(member, "utf-8") for member in await client.run(_USER_CONNECTIONS, [key])]


async def _run_by_slot(
    client: RedisClient,
    script: Script,
    entries: Iterable[UserEntry],
    args: Sequence[Argument] = (),
) -> None:
    """Run a script that has an argument for each key: once, or in a Cluster once for each slot."""
    by_slot: dict[int, list[UserEntry]] = {}
    for entry in entries:
        by_slot.setdefault(client.slot(entry.key), []).append(entry)
    calls = []
    for group in by_slot.values():
        keys, members = zip(*group, strict=True)
        calls.append((keys, [*args, *members]))
    await client.run_each(script, calls)
