"""A token function says whose a connection is, that nobody is signed in, or when to ask again."""

from typing import Any

import pytest

from jackfield import Error
from jackfield.client import ConnectionClosed, ConnectionFailed
from jackfield.client.token import find_token, has_expired


async def later(token: str | None) -> str | None:
    return token


@pytest.mark.parametrize(
    ("token", "found"),
    [
        (None, None),
        ("t", "t"),
        (lambda: "t", "t"),
        (lambda: later("t"), "t"),
        (lambda: "", None),
        (lambda: later(""), None),
    ],
)
async def test_a_token_is_a_text_or_what_a_function_returns(token: Any, found: str | None) -> None:
    assert await find_token(token, retry=True) == found


@pytest.mark.parametrize("function", [lambda: None, lambda: later(None)])
async def test_none_says_that_somebody_has_signed_out(function: Any) -> None:
    with pytest.raises(ConnectionFailed, match="signed out") as failed:
        await find_token(function, retry=True)
    assert not failed.value.reconnect


@pytest.mark.parametrize(
    ("error", "retry", "again"),
    [
        (OSError("away"), True, True),
        (OSError("away"), False, False),
        (Error("unauthenticated"), True, False),
        (Error("unavailable"), False, True),
    ],
)
async def test_an_exception_says_whether_to_ask_again(
    error: Exception, *, retry: bool, again: bool
) -> None:
    def fail() -> str:
        raise error

    with pytest.raises(ConnectionFailed, match="no token") as failed:
        await find_token(fail, retry=retry)
    assert failed.value.reconnect is again
    assert failed.value.__cause__ is error


def test_a_text_that_has_expired_is_of_no_use_any_more() -> None:
    expired = ConnectionClosed(4002, "token expired", reconnect=True, after=1)
    assert has_expired(expired, "t")
    assert not has_expired(expired, lambda: "t")
    assert not has_expired(expired, None)  # a session by cookie: the goodbye has decided
    assert has_expired(ConnectionClosed(4002, "token expired"), None)
    assert not has_expired(ConnectionClosed(4001, "shutdown", reconnect=True), "t")
