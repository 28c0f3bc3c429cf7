"""`Revocations`: what is revoked, known to every node within a second, and kept in its memory.

Each node polls Redis for new ones once a second. If they were published as well, they would be
known sooner, but not for certain: pub/sub loses what is sent while a link is down, and a node would
have to poll all the same.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import structlog

from jackfield.connection.hub import Hub
from jackfield.store.revocations import Revocation, RevocationStore
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity

_log = structlog.get_logger("jackfield")

#: Seconds between two polls. With the time of a call it stays far below two.
_INTERVAL: Final = 1.0
#: Seconds after which what has run out is removed from this node's memory.
_EXPIRY_INTERVAL: Final = 60.0
#: Seconds that an order to disconnect is kept: a node that was away for longer has lost its
#: clients by then.
_ORDER_LIFETIME: Final = 60.0


class RevocationKind(StrEnum):
    """What a revocation is about; `Revocations._close` relies on the order."""

    TOKEN = "token"  # noqa: S105 - a word
    USER = "user"
    CONNECTION = "connection"
    #: An order that travels with revocations: close, and have the client come back.
    DISCONNECT_USER = "disconnect-user"
    DISCONNECT_CONNECTION = "disconnect-connection"


class Revocations:
    """What one node knows to be revoked.

    Args:
        store: The revocations in Redis.
        hub: The node's connections.
        interval: Seconds between two polls.
    """

    def __init__(self, store: RevocationStore, hub: Hub, *, interval: float = _INTERVAL) -> None:
        self._store = store
        self._hub = hub
        self._interval = interval
        # The number of the newest entry that was read.
        self._newest = 0
        self._entries: dict[str, Revocation] = {}
        self._removed_at = time.time()
        self._poll_now = asyncio.Event()
        #: Whether it is known what is revoked at all.
        self.is_ready = False

    def is_revoked(self, identity: Identity, connection_id: str | None = None) -> bool:
        """Tell whether a token, a user or a connection is revoked.

        Of a revoked user those tokens are that were made before, or don't say when they were made.

        Args:
            identity: The identity.
            connection_id: The connection's id, if there is one already.
        """
        if not self._entries:
            return False
        if identity.token_id is not None and self._find(RevocationKind.TOKEN, identity.token_id):
            return True
        if connection_id is not None and self._find(RevocationKind.CONNECTION, connection_id):
            return True
        if identity.user is None:
            return False
        entry = self._find(RevocationKind.USER, identity.user)
        return entry is not None and (
            identity.issued_at is None or identity.issued_at <= entry.since
        )

    async def revoke(self, kind: RevocationKind, value: str, lifetime: float) -> None:
        """Revoke something; every node knows within a second.

        Args:
            kind: What ``value`` is the id of.
            value: The id.
            lifetime: Seconds after which no token that it is about would be valid any more.

        Raises:
            Error: ``unavailable``: Redis is away, and may or may not have it.
        """
        await self._store.add([f"{kind} {value}"], lifetime)
        self._poll_now.set()

    async def disconnect(self, kind: RevocationKind, value: str) -> None:
        """Close the connections of a user, or one, and have their clients come back.

        The arguments and errors are those of `revoke`.
        """
        await self.revoke(kind, value, _ORDER_LIFETIME)

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            try:
                await self.poll()
            except Error:  # Redis is away, which the heartbeat tells
                pass
            except Exception:  # noqa: BLE001 - one fault must not end all revoking; the log has it
                _log.exception("revocations can't be read")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._poll_now.wait()
            self._poll_now.clear()

    async def poll(self) -> None:
        """Read what was revoked since the last poll, and close what is open of that.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        reply = await self._store.read(self._newest)
        if reply.newest < self._newest:
            # Redis was flushed or restarted. What other nodes enter again comes with the next poll.
            await self._store.restore(self._entries.values())
        self._newest = reply.newest
        self.is_ready = True
        added = [entry for entry in reply.entries if self._add(entry)]
        if added:
            self._close(added)
        self._remove_expired()

    def _add(self, entry: Revocation) -> bool:
        """Add an entry; return whether it says more than was known."""
        known = self._entries.get(entry.target)
        if known is not None and known.since >= entry.since and known.until >= entry.until:
            return False
        if known is not None:
            entry = Revocation(
                entry.target, max(known.since, entry.since), max(known.until, entry.until)
            )
        self._entries[entry.target] = entry
        return True

    def _close(self, entries: Sequence[Revocation]) -> None:
        """Close the connections here that entries are about."""
        closed = 0
        # In sets, as this goes through every connection there is.
        tokens, users, connections, disconnected_users, disconnected = (
            _values(entries, kind) for kind in RevocationKind
        )
        for connection in self._hub:
            identity = connection.identity
            if (
                identity.token_id in tokens
                or connection.id in connections
                or (identity.user in users and self.is_revoked(identity))
            ):
                connection.close(CloseCode.REVOKED)
            elif identity.user in disconnected_users or connection.id in disconnected:
                connection.close(CloseCode.SHUTDOWN, "disconnected")
            else:
                continue
            closed += 1
        if closed:
            _log.info("closed what was revoked", connections=closed)

    def _find(self, kind: RevocationKind, value: str) -> Revocation | None:
        entry = self._entries.get(f"{kind} {value}")
        return None if entry is None or entry.until < time.time() else entry

    def _remove_expired(self) -> None:
        now = time.time()
        if now - self._removed_at >= _EXPIRY_INTERVAL:
            self._removed_at = now
            self._entries = {
                target: entry for target, entry in self._entries.items() if entry.until >= now
            }


def _values(entries: Iterable[Revocation], kind: RevocationKind) -> set[str | None]:
    """Return the ids that the entries of a kind are about."""
    prefix = f"{kind} "
    return {
        entry.target.removeprefix(prefix) for entry in entries if entry.target.startswith(prefix)
    }
