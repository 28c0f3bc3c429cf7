"""Authenticators are asked in turn, none is trusted to behave, and the revoked are refused."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from jackfield.auth import MAX_TOKEN_LENGTH, Anonymous, Credentials, Source
from jackfield.auth import chain as module
from jackfield.auth.chain import AuthenticatorChain, RefusedError
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import ANONYMOUS, Identity

ALICE = Identity("alice")


class By:
    """An authenticator that answers as it is told, and counts how often it is asked."""

    def __init__(self, answer: Identity | Exception | None = None) -> None:
        self.answer = answer
        self.asked: list[Credentials] = []

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        self.asked.append(credentials)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Known:
    """What is revoked."""

    def __init__(self, *revoked: Any, is_ready: bool = True) -> None:
        self.revoked = revoked
        self.is_ready = is_ready

    def is_revoked(self, identity: Identity, connection_id: str | None = None) -> bool:
        return identity in self.revoked or connection_id in self.revoked


def chain(*authenticators: Any, revocations: Known | None = None) -> AuthenticatorChain:
    known: Any = revocations or Known()
    return AuthenticatorChain(authenticators, known)


def sent(token: str = "token", source: Source = "bearer") -> Credentials:
    request: Any = None
    return Credentials(source, token, request)


async def refused(
    asked: AuthenticatorChain, credentials: Credentials | None = None
) -> RefusedError:
    with pytest.raises(RefusedError) as error:
        await asked.identify(credentials or sent())
    return error.value


async def test_the_first_that_knows_a_client_decides() -> None:
    first, second, third = By(), By(ALICE), By(Identity("bob"))
    assert await chain(first, second, third).identify(sent()) is ALICE
    assert [len(each.asked) for each in (first, second, third)] == [1, 1, 0]


async def test_the_first_that_refuses_a_client_decides() -> None:
    after = By(ALICE)
    asked = chain(By(Error("unauthenticated", "no")), after)
    assert (await refused(asked)).error.message == "no"
    assert after.asked == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Error("unauthenticated"), CloseCode.UNAUTHENTICATED),
        (Error("token_expired"), CloseCode.TOKEN_EXPIRED),
        (Error("unavailable", retry_after=1), CloseCode.UNAVAILABLE),
        (Error("forbidden"), CloseCode.UNAUTHENTICATED),
    ],
    ids=lambda value: value.code if isinstance(value, Error) else None,
)
async def test_each_refusal_has_its_close_code(error: Error, code: CloseCode) -> None:
    refusal = await refused(chain(By(error)))
    assert (refusal.error, refusal.code) == (error, code)


async def test_whom_nobody_knows_is_refused() -> None:
    refusal = await refused(chain(By(), By()))
    assert (refusal.error.code, refusal.code) == ("unauthenticated", CloseCode.UNAUTHENTICATED)


async def test_who_sends_nothing_may_still_send_something_if_anybody_would_look() -> None:
    assert await chain(By()).identify(sent("", "none")) is None
    assert (await refused(chain(), sent("", "none"))).error.code == "unauthenticated"
    assert await chain(By(), Anonymous()).identify(sent("", "none")) is ANONYMOUS


async def test_a_fault_is_logged_and_the_others_are_asked(logged: Callable[[], str]) -> None:
    assert await chain(By(RuntimeError("broken")), By(ALICE)).identify(sent()) is ALICE
    assert "broken" in logged()
    assert '"By"' in logged()


async def test_whom_only_the_broken_one_could_know_is_told_to_come_back() -> None:
    refusal = await refused(chain(By(RuntimeError("broken")), By()))
    assert (refusal.error.code, refusal.code) == ("unavailable", CloseCode.UNAVAILABLE)
    assert refusal.error.extra["retry_after"] > 0


async def test_one_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT", 0)

    class Hangs(By):
        async def authenticate(self, credentials: Credentials) -> Identity | None:
            await asyncio.Event().wait()
            return await super().authenticate(credentials)

    assert await chain(Hangs(), By(ALICE)).identify(sent()) is ALICE
    assert (await refused(chain(Hangs()))).error.code == "unavailable"


async def test_a_token_that_is_too_long_is_shown_to_nobody() -> None:
    by = By(ALICE)
    assert (await refused(chain(by), sent("x" * (MAX_TOKEN_LENGTH + 1)))).code == (
        CloseCode.UNAUTHENTICATED
    )
    assert by.asked == []
    assert await chain(by).identify(sent("x" * MAX_TOKEN_LENGTH)) is ALICE


async def test_who_is_revoked_is_refused_for_good() -> None:
    refusal = await refused(chain(By(ALICE), revocations=Known(ALICE)))
    assert (refusal.error.code, refusal.code) == ("unauthenticated", CloseCode.REVOKED)


def test_a_connection_may_be_revoked_as_well() -> None:
    asked = chain(revocations=Known("c1"))
    asked.check(ALICE)
    asked.check(ALICE, "c2")
    with pytest.raises(RefusedError, match="unauthenticated") as refusal:
        asked.check(ALICE, "c1")
    assert refusal.value.code == CloseCode.REVOKED


async def test_before_it_is_known_what_is_revoked_everybody_is_told_to_come_back() -> None:
    refusal = await refused(chain(By(ALICE), revocations=Known(is_ready=False)))
    assert (refusal.error.code, refusal.code) == ("unavailable", CloseCode.UNAVAILABLE)
    assert refusal.error.extra["retry_after"] > 0


def test_credentials_are_printed_without_their_token() -> None:
    assert "s3cret" not in repr(sent("s3cret"))
