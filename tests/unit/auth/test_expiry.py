"""When identities run out: one timer, each client told once, and nothing kept of those who left."""

import asyncio
import time
from typing import Any

import pytest

from jackfield.auth.expiry import Expiry
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from tests.support.waiting import wait_until


class Stand:
    """What stands in for a connection."""

    def __init__(self, expires_in: float | None) -> None:
        expires_at = None if expires_in is None else time.time() + expires_in
        self.identity = Identity("alice", expires_at=expires_at)
        self.told: list[Error] = []
        self.closed: CloseCode | None = None

    def refuse(self, _message_id: object, error: Error) -> None:
        self.told.append(error)

    def close(self, code: CloseCode) -> None:
        self.closed = code


def watched(expiry: Expiry, expires_in: float | None) -> Any:
    stand: Any = Stand(expires_in)
    expiry.watch(stand)
    return stand


async def test_each_is_warned_once_and_then_closed() -> None:
    expiry = Expiry(warn_before=0.2, grace=0.1)
    stands = [watched(expiry, seconds) for seconds in (0.4, 0.3, 0.35, -5)]
    await wait_until(lambda: all(stand.closed for stand in stands))
    for stand in stands:
        assert stand.closed is CloseCode.TOKEN_EXPIRED
        assert [error.code for error in stand.told] == ["token_expired"]
        assert stand.told[0].extra["expires_at"] == stand.identity.expires_at
        assert stand not in expiry._deadlines
    assert expiry._timer is None


async def test_what_never_runs_out_has_no_deadline() -> None:
    expiry = Expiry(warn_before=30, grace=10)
    stand = watched(expiry, None)
    assert stand not in expiry._deadlines
    assert expiry._timer is None
    expiry.forget(stand)


async def test_without_a_warning_there_is_only_the_close() -> None:
    expiry = Expiry(warn_before=0, grace=0)
    stand = watched(expiry, 0)
    await wait_until(lambda: stand.closed)
    assert stand.told == []


async def test_a_newer_identity_replaces_the_deadline() -> None:
    expiry = Expiry(warn_before=0, grace=0)
    stand, other = watched(expiry, 0.05), watched(expiry, 0.1)
    stand.identity = Identity("alice", expires_at=time.time() + 100)
    expiry.watch(stand)
    await wait_until(lambda: other.closed)
    assert stand.closed is None
    stand.identity = Identity("alice")
    expiry.watch(stand)
    assert stand not in expiry._deadlines
    expiry.close()


async def test_one_timer_serves_all_and_nothing_is_kept_of_who_left() -> None:
    expiry = Expiry(warn_before=0, grace=0)
    stands = [watched(expiry, 1000 + number) for number in range(10_000)]
    timer = expiry._timer
    assert timer is not None
    assert timer.when() - asyncio.get_running_loop().time() <= 30  # the clock may be set
    for stand in stands[:-1]:
        expiry.forget(stand)
    assert len(expiry._heap) < 1000
    expiry.close()


async def test_the_wall_clock_counts_however_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    expiry = Expiry(warn_before=10, grace=0)
    stand = watched(expiry, 1000)
    late = time.time() + 2000
    monkeypatch.setattr("jackfield.auth.expiry.time.time", lambda: late)
    expiry._check()
    assert stand.closed is CloseCode.TOKEN_EXPIRED
    assert len(stand.told) == 1
    expiry.close()
