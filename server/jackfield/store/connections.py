"""The state of connections in Redis: hashes that live for as long as their node says so.

Nothing here outlives its TTL unless a heartbeat refreshes it, and a heartbeat writes again what has
gone: so a flushed or restarted Redis heals by itself, and a dead node's state goes by itself.
"""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NamedTuple, Protocol, TypeVar

from jackfield.redis.batching import Batcher
from jackfield.redis.client import RedisClient
from jackfield.wire.errors import Error

from . import connection_scripts as scripts
from .connection_scripts import ConnectionHash, UserEntry
from .keys import Keys

#: Connections per call. One of 250 keeps Redis, and so everybody else, for half a millisecond;
#: of 1000 for two, and costs only a tenth less per connection.
_BATCH: Final = 250
#: How many TTLs the index of a node outlives its connections, and the set of nodes its members. The
#: index is what a reaper finds a dead node's connections by: it must still be there when the node's
#: own hash has expired, for several turns of a reaper and an outage of minutes.
_INDEX_TTLS: Final = 10
#: What connections are batched by: a node's keys are of one slot, and the entries of users are
#: sorted by theirs when the batch is written.
_SLOT: Final = ""

_T = TypeVar("_T")


def _installed_version() -> str:
    try:
        return version("jackfield")
    except PackageNotFoundError:  # run from its source
        return "unknown"


_VERSION: Final = _installed_version()


class ConnectionRecord(Protocol):
    """What is kept of a connection."""

    @property
    def id(self) -> str:
        """Unique among all nodes."""

    @property
    def user(self) -> str | None:
        """Its user; None if anonymous."""

    @property
    def remote(self) -> str:
        """The client's address."""

    @property
    def connected_at(self) -> float:
        """When it was made, in seconds since the epoch."""

    @property
    def fields(self) -> Mapping[str, bytes]:
        """What plugins keep with it, by ``<plugin>.<name>``."""


class UserConnection(NamedTuple):
    """One of a user's connections, and the node that holds it."""

    node: str
    id: str


class ReapedConnection(NamedTuple):
    """A connection that a dead node held."""

    node: str
    id: str
    user: str | None


class ConnectionStore:
    """The connections of this node in Redis, and what dead nodes left there.

    Every method raises `Error` ``unavailable`` if Redis is away. A call that failed may have been
    executed, at once or when a Redis that hung wakes: what that leaves behind expires.

    Args:
        client: The client.
        keys: The keys of this node.
        ttl: Seconds without a heartbeat after which a connection and its node count as gone.
    """

    def __init__(self, client: RedisClient, keys: Keys, ttl: float) -> None:
        self._client = client
        self._keys = keys
        self._ttl = ttl
        self._index_ttl = _INDEX_TTLS * ttl
        #: When the node started, by the clock of Redis; None until it is registered.
        self._started_at: str | None = None
        #: Ids of connections that were removed since the last heartbeat began.
        self._left: set[str] = set()
        # After another node has gone its clients come all at once, and so they go.
        self._adding: Batcher[ConnectionRecord, None] = Batcher(self._add_all, _size)
        self._removing: Batcher[ConnectionRecord, None] = Batcher(self._remove, _size)

    async def add(self, record: ConnectionRecord) -> None:
        """Write a connection; those of one tick go in one call."""
        if self._started_at is None:  # a node that dies before its first heartbeat is reaped too
            await self._register(connections=1)
        await self._adding.add(_SLOT, record)

    async def remove(self, record: ConnectionRecord) -> None:
        """Remove a connection, if it is there; those of one tick go in one call."""
        self._left.add(record.id)
        await self._removing.add(_SLOT, record)

    async def close(self) -> None:
        """Give up what is not written yet."""
        await self._adding.close()
        await self._removing.close()

    async def remove_all(self, records: Iterable[ConnectionRecord]) -> None:
        """Remove connections, and the node itself: it shuts down."""
        for batch in _batches(list(records)):
            await self._remove(batch)
        await self._client.execute("DEL", self._keys.node, self._keys.connections)
        await self._client.execute("ZREM", self._keys.nodes, self._keys.node_id)

    async def set_fields(
        self, record: ConnectionRecord, fields: Mapping[str, bytes | None]
    ) -> None:
        """Change plugin fields of a connection; if it has gone, write it again with them.

        Two calls for one connection must not overlap: Redis might see them in the other order.

        Args:
            record: The connection; its own ``fields`` may have the changes already, or not yet.
            fields: The new values; None removes a field.
        """
        key = self._keys.connection(record.id)
        removed = [name for name, value in fields.items() if value is None]
        changed = {name: value for name, value in fields.items() if value is not None}
        if not await scripts.set_fields(self._client, key, removed=removed, changed=changed):
            await self._enter([record], fields)

    async def heartbeat(self, records: Iterable[ConnectionRecord]) -> int | None:
        """Say that the node and these connections are alive; one heartbeat at a time.

        Args:
            records: Those of the node's connections that are alive; the others expire.

        Returns:
            How many had gone from Redis, and were written again; None if the node was taken for
            dead, and others have been told that its connections left: those must be closed.
        """
        everyone = list(records)
        self._left.clear()
        rewritten = 0
        failure: Error | None = None
        if await self._register(connections=len(everyone)):
            return None
        for batch in _batches(everyone):
            keys = [self._keys.connection(record.id) for record in batch]
            gone = await scripts.refresh_connections(
                self._client, self._keys.connections, keys, ttl=self._ttl, index_ttl=self._index_ttl
            )
            if gone:
                # A newer state than ours may be there by now, from `set_fields`: not to replace.
                await self._write([batch[index] for index in gone], replace=False)
                rewritten += len(gone)
            try:
                await self._refresh_users(self._entries(batch))
            except Error as exc:  # in a Cluster perhaps of few users: the rest must live on
                failure = exc
        # One that left meanwhile may have been written again after it was removed.
        if self._left:
            for batch in _batches([record for record in everyone if record.id in self._left]):
                await self._remove(batch)
        await self._sweep(everyone)
        if failure is not None:
            raise failure
        return rewritten

    async def of_user(self, user: str) -> list[UserConnection]:
        """Where a user's connections are, on all nodes."""
        members = await scripts.user_connections(self._client, self._keys.user_connections(user))
        return [UserConnection(*member.split("/", 1)) for member in members]

    async def reap(self) -> list[ReapedConnection]:
        """Remove what dead nodes left behind.

        Any number of nodes may do so at once: each connection is in the answer of exactly one. (Of
        none, if that one is cut off from Redis just as it is being answered.)
        """
        reaped: list[ReapedConnection] = []
        try:
            for node in await scripts.silent_nodes(
                self._client, self._keys.nodes, silence=self._ttl
            ):
                # This one may have been stopped for long; its next heartbeat will tell.
                if node != self._keys.node_id:
                    await self._reap_node(self._keys.of(node), reaped)
        except Error:
            if not reaped:
                raise
            # Nobody else is told of these; the rest is there the next time.
        with suppress(Error):  # their entries expire
            for batch in _batches(reaped):
                await self._remove_from_users(
                    [
                        _entry(self._keys.of(each.node), each.id, each.user)
                        for each in batch
                        if each.user
                    ]
                )
        return reaped

    async def _reap_node(self, keys: Keys, reaped: list[ReapedConnection]) -> None:
        for batch in _batches(await self._ids(keys)):
            found = await scripts.reap_connections(
                self._client,
                keys.node,
                keys.connections,
                keys.reaped,
                [keys.connection(each) for each in batch],
                ids=batch,
                mark_ttl=self._index_ttl,
            )
            if found is None:
                return
            reaped += (ReapedConnection(keys.node_id, each, user or None) for each, user in found)
        await scripts.forget_node(self._client, keys.nodes, node=keys.node_id, silence=self._ttl)

    async def _register(self, *, connections: int) -> bool:
        """Say that the node is alive; returns whether others have taken it for dead."""
        # In this order: a node that is in the set but has no hash is a dead one.
        self._started_at, reaped = await scripts.register_node(
            self._client,
            self._keys.node,
            self._keys.reaped,
            ttl=self._ttl,
            started_at=self._started_at,
            fields={
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "version": _VERSION,
                "connections": connections,
            },
        )
        await scripts.announce_node(
            self._client, self._keys.nodes, node=self._keys.node_id, ttl=self._index_ttl
        )
        return reaped

    async def _enter(
        self,
        records: Sequence[ConnectionRecord],
        changes: Mapping[str, bytes | None] | None = None,
    ) -> None:
        """Write connections, and enter them with their users: but in a Cluster, in one call."""
        own_slot, other_slots = self._by_slot(self._entries(records))
        await self._write(records, own_slot, replace=True, changes=changes)
        await self._refresh_users(other_slots)

    async def _write(
        self,
        records: Sequence[ConnectionRecord],
        entries: Sequence[UserEntry] = (),
        *,
        replace: bool,
        changes: Mapping[str, bytes | None] | None = None,
    ) -> None:
        hashes = {
            self._keys.connection(record.id): self._hash(record, changes or {})
            for record in records
        }
        await scripts.write_connections(
            self._client,
            self._keys.connections,
            hashes,
            entries,
            replace=replace,
            ttl=self._ttl,
            index_ttl=self._index_ttl,
        )

    def _hash(
        self, record: ConnectionRecord, changes: Mapping[str, bytes | None]
    ) -> ConnectionHash:
        own = {
            "node": self._keys.node_id,
            "remote": record.remote,
            "connected_at": f"{record.connected_at:.3f}",
        }
        kept = {**record.fields, **changes}
        fields = {name: value for name, value in kept.items() if value is not None}
        return ConnectionHash(record.id, record.user or "", {**own, **fields})

    async def _add_all(self, records: Sequence[ConnectionRecord]) -> list[None]:
        await self._enter(records)
        return [None] * len(records)

    async def _remove(self, records: Sequence[ConnectionRecord]) -> list[None]:
        ids = [record.id for record in records]
        keys = [self._keys.connection(each) for each in ids]
        own_slot, other_slots = self._by_slot(self._entries(records))
        await scripts.remove_connections(
            self._client, self._keys.connections, keys, own_slot, ids=ids
        )
        await self._remove_from_users(other_slots)
        return [None] * len(records)

    def _entries(self, records: Iterable[ConnectionRecord]) -> list[UserEntry]:
        return [_entry(self._keys, record.id, record.user) for record in records if record.user]

    def _by_slot(self, entries: Sequence[UserEntry]) -> tuple[list[UserEntry], list[UserEntry]]:
        """Those of this node's slot, which is all unless in a Cluster, and the others."""
        slot = self._client.slot
        own = slot(self._keys.connections)
        own_slot, other_slots = list[UserEntry](), list[UserEntry]()
        for entry in entries:
            (own_slot if slot(entry.key) == own else other_slots).append(entry)
        return own_slot, other_slots

    async def _refresh_users(self, entries: Sequence[UserEntry]) -> None:
        if entries:
            await scripts.refresh_users(self._client, entries, ttl=self._ttl)

    async def _remove_from_users(self, entries: Sequence[UserEntry]) -> None:
        if entries:
            await scripts.remove_from_users(self._client, entries)

    async def _sweep(self, records: Sequence[ConnectionRecord]) -> None:
        """Take off the index what a failed `remove` has left there: it would be reaped one day."""
        if await self._client.execute("HLEN", self._keys.connections) == len(records):
            return
        alive = {record.id for record in records}
        others = [each for each in await self._ids(self._keys) if each not in alive]
        for batch in _batches(others):
            keys = [self._keys.connection(each) for each in batch]
            await scripts.sweep_index(self._client, self._keys.connections, keys, ids=batch)

    async def _ids(self, keys: Keys) -> list[str]:
        reply = await self._client.execute("HKEYS", keys.connections)
        return [str(each, "utf-8") for each in reply]


def _entry(keys: Keys, connection_id: str, user: str) -> UserEntry:
    return UserEntry(keys.user_connections(user), keys.member(connection_id))


def _size(record: ConnectionRecord) -> int:
    return sum(map(len, record.fields.values()))


def _batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
