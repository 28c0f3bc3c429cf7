"""`TopicPresence`: the members of a topic here as others see them, counted by user, kept in Redis.

Several connections of a user are one member, and an anonymous connection is a member of its own.
What a node writes to Redis is announced by the script that writes it, on the topic's channel. That
the members of a dead node have left is announced by `announce_dead_members.lua`, a part of every
script of presence.
"""

import asyncio
import contextlib
from functools import partial
from typing import Any, Final

import msgspec

from jackfield.connection.connection import Connection
from jackfield.store.keys import TopicKeys
from jackfield.store.presence import MemberConnections, PresenceSnapshot, PresenceStore
from jackfield.wire import protocol
from jackfield.wire.errors import Error

from .encoding import Batch
from .feed import Feed, Members

#: Members that one message lists: it stays below 100 KB if their info is short. Beyond it the count
#: alone tells.
MAX_LISTED: Final = 1000
#: What a feed of presence has for an epoch: its versions never begin anew.
_NO_EPOCH: Final = "-"

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class _Member:
    """A user's or an anonymous client's connections to a topic at this node."""

    __slots__ = ("connections", "profile")

    def __init__(self) -> None:
        self.connections = 0
        #: What others see of it, as JSON.
        self.profile = b"{}"


class TopicPresence:
    """This node's part of a topic's presence.

    Args:
        store: Where it is kept.
        keys: The topic's keys.
        name: The topic's name.
        members: Its members at this node, who are told of all others.
    """

    def __init__(self, store: PresenceStore, keys: TopicKeys, name: str, members: Members) -> None:
        #: The changes on their way to the members, numbered by the version.
        self.feed = Feed(members)
        self.feed.epoch = _NO_EPOCH
        self._store = store
        self._keys = keys
        self._head = protocol.presence_head(name)
        self._connections: dict[Connection, str] = {}
        self._members: dict[str, _Member] = {}
        # What Redis may not know yet.
        self._unwritten: set[str] = set()

    async def add(self, connection: Connection, info: dict[str, Any] | None) -> int:
        """Count a connection in, and write that to Redis.

        Args:
            connection: The connection.
            info: What others see of it, beside who it is.

        Returns:
            The version; the connection is to be told of all changes after it.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        member_id = self._connections.get(connection)
        if member_id is None:
            member_id = self._connections[connection] = _member_id(connection)
            self._members.setdefault(member_id, _Member()).connections += 1
        self._members[member_id].profile = _profile(connection, info)
        self._unwritten.add(member_id)
        return await asyncio.shield(self._write(member_id))

    def remove(self, connection: Connection) -> None:
        """Count a connection out, if it is in; if Redis is away, `refresh` writes it."""
        member_id = self._connections.pop(connection, None)
        if member_id is None:
            return
        member = self._members[member_id]
        member.connections -= 1
        if not member.connections:
            del self._members[member_id]
        self._unwritten.add(member_id)
        with contextlib.suppress(Error):  # too much is waiting
            self._write(member_id)

    async def refresh(self) -> int:
        """Keep what is written from expiring, and write what isn't.

        Returns:
            A version that the members must have been told of by now, or soon; 0 if there are none.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        version = 0
        if self._members:
            version, known = await self._store.refresh(self._keys, self._head, len(self._members))
            if known is not None:
                self._unwritten.update(self._members, known)
        if self._unwritten:
            writes = [self._write(member_id) for member_id in self._unwritten]
            await asyncio.wait(writes)
            for write in writes:
                write.result()
        return version

    async def open(self) -> None:
        """Read the version; changes after it are buffered.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        snapshot = await self._store.read(self._keys, self._head, 0)
        self.feed.skip_to(_NO_EPOCH, snapshot.version)

    async def refill(self) -> None:
        """Send the members the whole list, as a change was missed.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        await self.refresh()  # the list must not lack what is known of this node
        again = True
        while again:
            self.feed.pause()
            stale = self.feed.buffered
            snapshot = await self._store.read(self._keys, self._head, MAX_LISTED)
            self.feed.skip_to(_NO_EPOCH, snapshot.version - 1)
            message = protocol.presence_snapshot(self._head, presence_reply(snapshot))
            self.feed.send(Batch(snapshot.version, [message]))
            again = self.feed.resume(stale)

    def _write(self, member_id: str) -> "asyncio.Future[int]":
        member = self._members.get(member_id) or _Member()
        written = self._store.write(
            MemberConnections(self._keys, self._head, member_id, member.connections, member.profile)
        )
        written.add_done_callback(partial(self._on_written, member_id, member.connections))
        return written

    def _on_written(self, member_id: str, connections: int, written: "asyncio.Future[int]") -> None:
        if written.cancelled() or written.exception() is not None:
            return
        member = self._members.get(member_id)
        if (0 if member is None else member.connections) == connections:
            self._unwritten.discard(member_id)


def presence_reply(snapshot: PresenceSnapshot) -> dict[str, Any]:
    """Return who is there, as it stands on the wire."""
    listed = [
        _decode(profile) | {"connections": connections} for connections, profile in snapshot.listed
    ]
    return {"members": listed, "count": snapshot.size}


def _member_id(connection: Connection) -> str:
    return f"c:{connection.id}" if connection.user is None else f"u:{connection.user}"


def _profile(connection: Connection, info: dict[str, Any] | None) -> bytes:
    profile: dict[str, Any] = {"user": connection.user}
    if connection.user is None:
        profile["connection"] = connection.id
    if info is not None:
        profile["info"] = info
    return _encode(profile)
