"""A live connection exchanges its token, and loses what the new one doesn't allow."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jackfield.auth import Credentials
from jackfield.auth.chain import RefusedError
from jackfield.auth.expiry import Expiry
from jackfield.auth.refresh import IdentityRefresh
from jackfield.connection.connection import Connection
from jackfield.connection.request import Request
from jackfield.connection.running import MessageOptions
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import ANONYMOUS, Identity
from tests.support.connected import Connected

OLD = Identity("alice", frozenset({"read", "write"}), expires_at=time.time() + 60)


class Chain:
    """Authenticators that know one token."""

    def __init__(self) -> None:
        self.found: Identity | RefusedError | None = None
        self.revoked: RefusedError | None = None
        self.asked: list[Credentials] = []
        self.checked: list[tuple[Identity, str | None]] = []

    async def identify(self, credentials: Credentials) -> Identity | None:
        self.asked.append(credentials)
        if isinstance(self.found, RefusedError):
            raise self.found
        return self.found

    def check(self, identity: Identity, connection_id: str | None = None) -> None:
        self.checked.append((identity, connection_id))
        if self.revoked is not None:
            raise self.revoked


class Refreshed:
    """A connection whose identity can be exchanged."""

    def __init__(self, identity: Identity = OLD) -> None:
        self.client = Connected(identity=identity)
        self.chain = Chain()
        self.expiry = Expiry(warn_before=30, grace=10)
        self.rechecked: list[tuple[str, Identity]] = []
        chain: Any = self.chain
        self.refresher = IdentityRefresh(chain, self.expiry, [self.first, self.second])

    async def first(self, connection: Connection) -> None:
        self.rechecked.append(("first", connection.identity))

    async def second(self, connection: Connection) -> None:
        self.rechecked.append(("second", connection.identity))

    @property
    def connection(self) -> Connection:
        return self.client.connection

    async def refresh(self, found: Identity | RefusedError | None) -> float | None:
        self.chain.found = found
        return await self.refresher.refresh(self.connection, "token")

    def request(self, message_id: int, *scopes: str) -> Request[MessageOptions]:
        options = MessageOptions(
            "test",
            scopes=frozenset(scopes),
            rate=None,
            streams=False,
            concurrent=False,
            timeout=None,
        )
        request = Request(self.connection, options, message_id, {})
        self.connection.requests[message_id] = request
        return request


@pytest.fixture
async def refreshed() -> AsyncIterator[Refreshed]:
    refreshed = Refreshed()
    yield refreshed
    refreshed.expiry.close()
    refreshed.client.close()


async def test_the_new_identity_counts_from_now_on_until_it_runs_out(refreshed: Refreshed) -> None:
    new = Identity("alice", frozenset({"read"}), expires_at=time.time() + 600)
    assert await refreshed.refresh(new) == new.expires_at
    assert refreshed.connection.identity is new
    (credentials,) = refreshed.chain.asked
    assert (credentials.source, credentials.token) == ("message", "token")
    assert credentials.request is refreshed.connection.request
    assert refreshed.chain.checked == [(new, refreshed.connection.id)]
    deadline = refreshed.expiry._deadlines[refreshed.connection]
    assert deadline.at == (new.expires_at or 0) - 30


async def test_all_who_gave_it_something_check_again_in_their_order(refreshed: Refreshed) -> None:
    new = Identity("alice")
    assert await refreshed.refresh(new) is None
    assert refreshed.rechecked == [("first", new), ("second", new)]


async def test_requests_that_need_a_lost_scope_are_stopped(refreshed: Refreshed) -> None:
    able = refreshed.request(1, "read")
    unable = refreshed.request(2, "read", "write")
    await refreshed.refresh(Identity("alice", frozenset({"read"})))
    assert able.stop_reason is None
    assert unable.stop_reason is not None
    assert unable.stop_reason.code == "forbidden"
    assert unable.stop_reason.extra["scopes"] == ["read", "write"]


@pytest.mark.parametrize(
    "found",
    [Identity("bob"), ANONYMOUS, None, RefusedError(Error("token_expired"), CloseCode.REVOKED)],
    ids=["another", "anonymous", "nobody", "expired"],
)
async def test_what_is_refused_changes_nothing(
    refreshed: Refreshed, found: Identity | RefusedError | None
) -> None:
    with pytest.raises(Error) as refused:
        await refreshed.refresh(found)
    expired = isinstance(found, RefusedError)
    assert refused.value.code == ("token_expired" if expired else "forbidden")
    assert refreshed.connection.identity is OLD
    assert refreshed.connection.closing is None
    assert refreshed.rechecked == []


async def test_an_anonymous_connection_may_get_other_scopes_and_no_user() -> None:
    refreshed = Refreshed(ANONYMOUS)
    await refreshed.refresh(Identity(None, frozenset({"read"})))
    assert refreshed.connection.identity.scopes == {"read"}
    with pytest.raises(Error, match="forbidden"):
        await refreshed.refresh(Identity("alice"))


async def test_what_was_revoked_meanwhile_closes_the_connection(refreshed: Refreshed) -> None:
    error = Error("unauthenticated", "The token is revoked.")
    refreshed.chain.revoked = RefusedError(error, CloseCode.REVOKED)
    with pytest.raises(Error, match="revoked"):
        await refreshed.refresh(Identity("alice"))
    assert refreshed.connection.closing is CloseCode.REVOKED
    assert refreshed.rechecked == []
