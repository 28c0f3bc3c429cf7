"""Error codes are the wire contract: the table of the protocol, word for word."""

import msgspec
import pytest

from jackfield.wire.errors import ERROR_CODES, Error

RETRYABLE = {
    "invalid_json": False,
    "invalid_message": False,
    "unknown_type": False,
    "invalid_payload": False,
    "unauthenticated": False,
    "token_expired": False,
    "forbidden": False,
    "not_found": False,
    "conflict": False,
    "rate_limited": True,
    "too_large": False,
    "timeout": True,
    "cancelled": False,
    "unavailable": True,
    "unrecoverable": False,
    "agent_gone": True,
    "agent_failed": False,
    "internal": False,
}


def test_the_error_codes_are_those_of_the_protocol_and_say_whether_to_retry() -> None:
    assert {code: spec.retryable for code, spec in ERROR_CODES.items()} == RETRYABLE


@pytest.mark.parametrize("code", RETRYABLE)
def test_every_code_has_a_sentence_of_its_own(code: str) -> None:
    message = Error(code).message
    assert message[0].isupper()
    assert message.endswith(".")
    assert [spec.message for spec in ERROR_CODES.values()].count(message) == 1


def test_an_error_is_the_object_on_the_wire() -> None:
    assert Error("not_found").as_dict() == {
        "code": "not_found",
        "message": "There is no such thing, or it is not yours to see.",
        "retryable": False,
    }
    assert Error("rate_limited", "Slower.", retry_after=2.5).as_dict() == {
        "code": "rate_limited",
        "message": "Slower.",
        "retryable": True,
        "retry_after": 2.5,
    }


def test_extra_keys_come_after_the_fixed_ones() -> None:
    error = Error("forbidden", scopes=["chat"])
    assert msgspec.json.encode(error.as_dict()) == (
        b'{"code":"forbidden","message":"This connection may not do that.","retryable":false,'
        b'"scopes":["chat"]}'
    )


def test_a_plugins_own_code_is_taken_as_it_is() -> None:
    assert Error("chat.room_full", "The room is full.").as_dict() == {
        "code": "chat.room_full",
        "message": "The room is full.",
        "retryable": False,
    }


@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize("code", ["timeout", "forbidden", "chat.room_full"])
def test_whoever_raises_it_may_say_whether_to_retry(code: str, retryable: bool) -> None:  # noqa: FBT001
    assert Error(code, "Words.", retryable=retryable).as_dict()["retryable"] is retryable


def test_an_empty_message_is_a_message() -> None:
    assert Error("timeout", "").message == ""


def test_a_code_nobody_declared_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"'room_full' is not an error code .*'chat\.room_full'"):
        Error("room_full", "The room is full.")


def test_a_plugins_own_code_needs_words() -> None:
    with pytest.raises(ValueError, match=r"'chat\.room_full' needs a message"):
        Error("chat.room_full")


def test_an_error_in_a_log_shows_its_code_and_words() -> None:
    assert str(Error("timeout")) == "timeout: The handler did not finish in time."
