"""What a node knows to be revoked, in its own memory."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from jackfield.auth.revocations import RevocationKind, Revocations
from jackfield.store.revocations import NewRevocations, Revocation
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from tests.support.waiting import wait_until


class Store:
    """What stands in for Redis: all that was entered, and the number of the last."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, Revocation]] = []
        self.newest = 0
        self.is_away = False

    def enter(self, target: str, lifetime: float = 60, since: float | None = None) -> None:
        since = time.time() if since is None else since
        self.newest += 1
        self.entries.append((self.newest, Revocation(target, since, since + lifetime)))

    async def add(self, targets: Sequence[str], lifetime: float) -> None:
        for target in targets:
            self.enter(target, lifetime)

    async def restore(self, entries: Iterable[Revocation]) -> None:
        for entry in entries:
            self.newest += 1
            self.entries.append((self.newest, entry))

    async def read(self, known: int) -> NewRevocations:
        if self.is_away:
            raise Error("unavailable")
        known = 0 if self.newest < known else known
        return NewRevocations(
            self.newest, [entry for number, entry in self.entries if number > known]
        )

    def flush(self) -> None:
        self.entries.clear()
        self.newest = 0


class Stand:
    """What stands in for a connection."""

    def __init__(self, connection_id: str, identity: Identity) -> None:
        self.id = connection_id
        self.identity = identity
        self.closed: tuple[CloseCode, str | None] | None = None

    def close(self, code: CloseCode, reason: str | None = None) -> None:
        self.closed = (code, reason)


def node(*hub: Stand) -> tuple[Revocations, Store]:
    store, connections = Store(), list(hub)
    unlike: Any = (store, connections)
    return Revocations(*unlike), store


ALICE = Identity("alice", token_id="t1", issued_at=time.time() - 60)
NOBODY = Identity(None)


async def test_each_kind_covers_what_it_says_and_nothing_else() -> None:
    revocations, store = node()
    for target in ("token t2", "user bob", "connection c2", "user t1", "token alice", "token None"):
        store.enter(target)
    await revocations.poll()
    assert not revocations.is_revoked(ALICE, "c1")
    assert not revocations.is_revoked(NOBODY, "c1")
    assert revocations.is_revoked(NOBODY, "c2")
    assert revocations.is_revoked(Identity("bob"))
    assert revocations.is_revoked(Identity("carol", token_id="t2"))


async def test_a_users_later_tokens_are_not_covered() -> None:
    revocations, store = node()
    now = time.time()
    store.enter("user alice", since=now)
    await revocations.poll()
    assert revocations.is_revoked(Identity("alice", issued_at=now - 1))
    assert revocations.is_revoked(Identity("alice", issued_at=now))
    assert revocations.is_revoked(Identity("alice"))
    assert not revocations.is_revoked(Identity("alice", issued_at=now + 1))


async def test_what_is_revoked_again_counts_from_the_last_time_and_until_the_longest() -> None:
    revocations, store = node()
    now = time.time()
    store.enter("user alice", 1000, since=now)
    store.enter("user alice", 10, since=now + 5)
    store.enter("user alice", 10, since=now - 5)
    await revocations.poll()
    (entry,) = revocations._entries.values()
    assert entry == Revocation("user alice", now + 5, now + 1000)


async def test_what_has_ended_covers_nothing_and_is_forgotten() -> None:
    revocations, store = node()
    store.enter("token t1", 10, since=time.time() - 20)
    store.enter("token t2", 10)
    await revocations.poll()
    assert not revocations.is_revoked(ALICE)
    revocations._removed_at -= 61
    await revocations.poll()
    assert list(revocations._entries) == ["token t2"]


async def test_only_what_is_meant_is_closed_and_only_once() -> None:
    stands = [
        Stand("c1", ALICE),
        Stand("c2", Identity("bob", token_id="t2")),
        Stand("c3", Identity("carol", token_id="t3")),
        Stand("c4", NOBODY),
        Stand("c5", NOBODY),
    ]
    revocations, store = node(*stands)
    await revocations.poll()
    store.enter("token t1")
    store.enter("user carol")
    store.enter("connection c4")
    store.enter("disconnect-user bob")
    await revocations.poll()
    away = (CloseCode.SHUTDOWN, "disconnected")
    revoked = (CloseCode.REVOKED, None)
    assert [stand.closed for stand in stands] == [revoked, away, revoked, revoked, None]
    # Whoever comes back after an order to disconnect stays.
    stands[1].closed = None
    store.enter("disconnect-connection c5")
    await revocations.poll()
    assert stands[1].closed is None
    assert stands[4].closed == away
    assert not revocations.is_revoked(stands[1].identity, "c2")


async def test_what_a_flushed_redis_has_lost_is_entered_again() -> None:
    revocations, store = node()
    await revocations.revoke(RevocationKind.TOKEN, "t1", 60)
    await revocations.poll()
    store.flush()
    await revocations.poll()
    assert [entry.target for _, entry in store.entries] == ["token t1"]
    await revocations.poll()
    assert revocations.is_revoked(ALICE)
    assert len(store.entries) == 1


async def test_nothing_is_known_before_the_first_look() -> None:
    revocations, store = node()
    store.is_away = True
    with pytest.raises(Error):
        await revocations.poll()
    assert not revocations.is_ready
    store.is_away = False
    await revocations.poll()
    assert revocations.is_ready


async def test_an_order_to_disconnect_is_kept_as_long_as_a_node_may_be_away() -> None:
    revocations, store = node()
    await revocations.disconnect(RevocationKind.DISCONNECT_USER, "alice")
    ((_, entry),) = store.entries
    assert entry.target == "disconnect-user alice"
    assert entry.until - entry.since == 60


async def test_this_node_polls_at_once_for_what_it_has_revoked() -> None:
    stand = Stand("c1", ALICE)
    store, hub = Store(), [stand]
    unlike: Any = (store, hub)
    revocations = Revocations(*unlike, interval=3600)
    running = asyncio.create_task(revocations.run())
    await wait_until(lambda: revocations.is_ready)
    await revocations.revoke(RevocationKind.USER, "alice", 60)
    await wait_until(lambda: stand.closed == (CloseCode.REVOKED, None))
    assert stand.closed == (CloseCode.REVOKED, None)
    running.cancel()
    await asyncio.wait([running])


async def test_polling_goes_on_whatever_fails(logged: Callable[[], str]) -> None:
    store = Store()
    faults: list[Exception] = [RuntimeError("broken"), Error("unavailable")]
    read = store.read

    async def fail_first(known: int) -> NewRevocations:
        if faults:
            raise faults.pop()
        return await read(known)

    unlike: Any = (store, [])
    store.read = fail_first  # type: ignore[method-assign]
    revocations = Revocations(*unlike, interval=0)
    running = asyncio.create_task(revocations.run())
    await wait_until(lambda: revocations.is_ready)
    running.cancel()
    await asyncio.wait([running])
    assert logged().count("revocations can't be read") == 1
