"""What is revoked: known to every node within a second, and looked up in its own memory.

Each node looks in Redis for news once a second. To publish them as well would tell sooner, and
promise nothing: pub/sub loses what is sent while a link is down, and so a node would have to look
all the same.
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

#: Seconds between two looks. With the time of a call it stays far below two.
_INTERVAL: Final = 1.0
#: Seconds between two looks for what has run out, in this node's memory.
_TIDY_INTERVAL: Final = 60.0
#: Seconds that an order to disconnect is kept: a node that was away for longer has lost its
#: clients by then.
_ORDER_LIFETIME: Final = 60.0


class RevocationKind(StrEnum):
    """What a revocation is about; in this order."""

    TOKEN = "token"  # noqa: S105 - a word
    USER = "user"
    CONNECTION = "connection"
    #: Not a revocation, but travels with them: close, and have the client come back.
    DISCONNECT_USER = "disconnect-user"
    DISCONNECT_CONNECTION = "disconnect-connection"


class Revocations:
    """What one node knows to be revoked.

    Args:
        store: Where all nodes find it.
        hub: The node's connections.
        interval: Seconds between two looks.
    """

    def __init__(self, store: RevocationStore, hub: Hub, *, interval: float = _INTERVAL) -> None:
        self._store = store
        self._hub = hub
        self._interval = interval
        self._known = 0
        self._entries: dict[str, Revocation] = {}
        self._tidied_at = time.time()
        self._wanted = asyncio.Event()
        #: Whether it is known what is revoked at all.
        self.is_ready = False

    def cover(self, identity: Identity, connection_id: str | None = None) -> bool:
        """Whether somebody is revoked, by their token, as a user, or by their connection.

        A user's tokens are revoked that were made before, and those that don't say when they were.

        Args:
            identity: Who it is.
            connection_id: The connection, if there is one already.
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
        """Revoke on all nodes, from within a second on.

        Args:
            kind: What ``value`` is.
            value: The id.
            lifetime: Seconds until nothing of it would be valid any more.

        Raises:
            Error: ``unavailable``: Redis is away, and it may be revoked or not.
        """
        await self._store.add([f"{kind} {value}"], lifetime)
        self._wanted.set()

    async def disconnect(self, kind: RevocationKind, value: str) -> None:
        """Close on all nodes what is open now, and have the clients come back.

        The arguments and errors are those of `revoke`.
        """
        await self.revoke(kind, value, _ORDER_LIFETIME)

    async def run(self) -> None:
        """Look for news until cancelled."""
        while True:
            try:
                await self.look()
            except Error:  # Redis is away, which the heartbeat tells
                pass
            except Exception:  # noqa: BLE001 - one fault must not end all revoking; the log has it
                _log.exception("revocations can't be read")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._wanted.wait()
            self._wanted.clear()

    async def look(self) -> None:
        """Look for news, and act by it.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        news = await self._store.read(self._known)
        if news.newest < self._known:
            # Redis was flushed or restarted. What other nodes enter again comes with the next look.
            await self._store.restore(self._entries.values())
        self._known = news.newest
        self.is_ready = True
        fresh = [entry for entry in news.entries if self._is_news(entry)]
        if fresh:
            self._close(fresh)
        self._tidy()

    def _is_news(self, entry: Revocation) -> bool:
        """Note an entry; whether it says more than was known."""
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
        """Close what is open here and was revoked just now, or is to go."""
        closed = 0
        # In sets, as this looks at every connection there is.
        tokens, users, connections, sent_users, sent = (
            _values(entries, kind) for kind in RevocationKind
        )
        for connection in self._hub:
            identity = connection.identity
            if (
                identity.token_id in tokens
                or connection.id in connections
                or (identity.user in users and self.cover(identity))
            ):
                connection.close(CloseCode.REVOKED)
            elif identity.user in sent_users or connection.id in sent:
                connection.close(CloseCode.SHUTDOWN, "disconnected")
            else:
                continue
            closed += 1
        if closed:
            _log.info("closed what was revoked", connections=closed)

    def _find(self, kind: RevocationKind, value: str) -> Revocation | None:
        entry = self._entries.get(f"{kind} {value}")
        return None if entry is None or entry.until < time.time() else entry

    def _tidy(self) -> None:
        now = time.time()
        if now - self._tidied_at >= _TIDY_INTERVAL:
            self._tidied_at = now
            self._entries = {
                target: entry for target, entry in self._entries.items() if entry.until >= now
            }


def _values(entries: Iterable[Revocation], kind: RevocationKind) -> set[str | None]:
    """What is meant by the entries of a kind."""
    prefix = f"{kind} "
    return {
        entry.target.removeprefix(prefix) for entry in entries if entry.target.startswith(prefix)
    }
