"""The members of a topic at this node as others see them: counted by user, written to Redis.

Several connections of a user are one member, and an anonymous connection is a member of its own.
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

#: Members that one message lists. Beyond it the count alone tells.
MAX_LISTED: Final = 1000

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class _Member:
    """A user's or an anonymous client's connections to a topic at this node."""

    __slots__ = ("connections", "looks")

    def __init__(self) -> None:
        self.connections = 0
        self.looks = b"{}"


class TopicPresence:
    """This node's part of a topic's presence.

    Args:
        store: Where it is kept.
        keys: The topic's keys.
        topic: Its name.
        members: Its members at this node, who are told of the others.
    """

    def __init__(self, store: PresenceStore, keys: TopicKeys, topic: str, members: Members) -> None:
        self.feed = Feed(members)
        self.feed.epoch = "-"
        self._store = store
        self._keys = keys
        self._head = protocol.presence_head(topic)
        self._connections: dict[Connection, str] = {}
        self._members: dict[str, _Member] = {}
        # What Redis may not know yet.
        self._unwritten: set[str] = set()

    async def attend(self, connection: Connection, info: dict[str, Any] | None) -> int:
        """Count a connection in.

        Args:
            connection: The connection.
            info: What others see of it, beside whose it is.

        Returns:
            The version from which on changes are news to it.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        name = self._connections.get(connection)
        if name is None:
            name = self._connections[connection] = _name(connection)
            self._members.setdefault(name, _Member()).connections += 1
        self._members[name].looks = _looks(connection, info)
        return await self._write(name)

    def depart(self, connection: Connection) -> None:
        """Count a connection out; Redis is told without waiting for it, and again if that fails."""
        name = self._connections.pop(connection, None)
        if name is None:
            return
        member = self._members[name]
        member.connections -= 1
        if not member.connections:
            del self._members[name]
        self._unwritten.add(name)
        with contextlib.suppress(Error):  # too much is waiting
            self._send(name)

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
            writes = [self._send(name) for name in self._unwritten]
            await asyncio.wait(writes)
            for write in writes:
                write.result()
        return version

    async def open(self) -> None:
        """Learn where it stands, and hold back what changes from now on.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        members = await self._store.read(self._keys, self._head, 0)
        self.feed.move("-", members.version)

    async def refill(self) -> None:
        """Tell the members who is there, as a change was missed.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        await self.refresh()  # what is known of this node must not be missing in what is told
        again = True
        while again:
            self.feed.hold()
            stale = self.feed.held
            members = await self._store.read(self._keys, self._head, MAX_LISTED)
            self.feed.move("-", members.version - 1)
            snapshot = protocol.presence_snapshot(self._head, as_reply(members))
            self.feed.send(Batch(members.version, [snapshot]))
            again = self.feed.release(stale)

    async def _write(self, name: str) -> int:
        self._unwritten.add(name)
        return await asyncio.shield(self._send(name))

    def _send(self, name: str) -> "asyncio.Future[int]":
        member = self._members.get(name) or _Member()
        written = self._store.write(
            MemberConnections(self._keys, self._head, name, member.connections, member.looks)
        )
        written.add_done_callback(partial(self._written, name, member.connections))
        return written

    def _written(self, name: str, connections: int, written: "asyncio.Future[int]") -> None:
        if written.cancelled() or written.exception() is not None:
            return
        member = self._members.get(name)
        if (0 if member is None else member.connections) == connections:
            self._unwritten.discard(name)


def as_reply(members: PresenceSnapshot) -> dict[str, Any]:
    """Who is there, as it stands on the wire."""
    listed = [
        _decode(looks) | {"connections": connections} for connections, looks in members.listed
    ]
    return {"members": listed, "count": members.size}


def _name(connection: Connection) -> str:
    return f"c:{connection.id}" if connection.user is None else f"u:{connection.user}"


def _looks(connection: Connection, info: dict[str, Any] | None) -> bytes:
    looks: dict[str, Any] = {"user": connection.user}
    if connection.user is None:
        looks["connection"] = connection.id
    if info is not None:
        looks["info"] = info
    return _encode(looks)
