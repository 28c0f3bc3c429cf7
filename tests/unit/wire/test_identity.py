"""Who may be a user: any text that can stand in the name of a topic, in a key and in a log."""

import dataclasses

import pytest

from jackfield.wire.identity import (
    ANONYMOUS,
    MAX_TOKEN_ID_LENGTH,
    MAX_USER_LENGTH,
    Identity,
    is_token_id,
    is_user,
)


@pytest.mark.parametrize(
    "text", ["a", "alice@example.org", "Ä ö", "😀", "{}:/*", "x" * MAX_USER_LENGTH]
)
def test_any_printable_text_can_be_a_user(text: str) -> None:
    assert is_user(text)


@pytest.mark.parametrize(
    "value",
    ["", "x" * (MAX_USER_LENGTH + 1), "a\nb", "\x00", "\x7f", "\ud800", "\u202e", None, 7, b"a"],
    ids=repr,
)
def test_what_can_not_be_shown_or_is_too_long_is_no_user(value: object) -> None:
    assert not is_user(value)


def test_an_id_that_looks_like_another_is_none() -> None:
    assert is_user("\u00e9")
    assert not is_user("e\u0301")
    assert is_token_id("\u00e9")
    assert not is_token_id("e\u0301")


def test_a_tokens_id_may_be_longer_than_a_users() -> None:
    assert is_token_id("x" * MAX_TOKEN_ID_LENGTH)
    assert not is_token_id("x" * (MAX_TOKEN_ID_LENGTH + 1))
    for text in ("", "\x1b", None, 7):
        assert not is_token_id(text)


def test_the_anonymous_are_nobody_and_may_do_nothing() -> None:
    assert ANONYMOUS.user is None
    assert ANONYMOUS.scopes == frozenset()
    assert ANONYMOUS.expires_at is None


def test_an_identity_can_not_be_changed() -> None:
    identity = Identity("alice", frozenset({"chat"}))
    with pytest.raises(dataclasses.FrozenInstanceError):
        identity.user = "bob"  # type: ignore[misc]
    assert dataclasses.replace(identity, user="bob").scopes == {"chat"}
