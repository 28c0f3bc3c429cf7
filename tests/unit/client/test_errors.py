"""Every error of the client has one base class, says what is wrong, and whether to try again."""

from copy import copy

import pytest

from jackfield import client
from jackfield.client import (
    ConnectionClosed,
    ConnectionFailed,
    EventsLost,
    JackfieldError,
    RequestError,
    StreamBroken,
)
from jackfield.client.errors import retry_after


def test_all_exceptions_of_the_client_have_one_base_class() -> None:
    public = [getattr(client, name) for name in client.__all__]
    errors = {each for each in public if isinstance(each, type) and issubclass(each, Exception)}
    assert {each.__name__ for each in errors} == {
        "ConnectionClosed",
        "ConnectionFailed",
        "EventsLost",
        "JackfieldError",
        "Rejected",
        "RequestError",
        "StreamBroken",
    }
    assert all(issubclass(error, JackfieldError) for error in errors)


@pytest.mark.parametrize(
    ("status", "reconnect"),
    [(None, True), (429, True), (502, True), (503, True), (504, True), (401, False), (500, False)],
)
def test_a_status_says_whether_another_attempt_may_succeed(
    status: int | None, *, reconnect: bool
) -> None:
    assert ConnectionFailed(status, "No.").reconnect is reconnect
    assert ConnectionFailed(status, "No.", reconnect=not reconnect).reconnect is not reconnect


@pytest.mark.parametrize(
    ("code", "reconnect"),
    [
        (1000, False),
        (1001, True),
        (1002, False),
        (1005, True),
        (1006, True),
        (1009, False),
        (1011, True),
        (4001, True),
        (4499, True),
        (4500, False),
        (4999, False),
    ],
)
def test_a_close_code_says_whether_to_reconnect_unless_the_server_does(
    code: int, *, reconnect: bool
) -> None:
    assert ConnectionClosed(code, "").reconnect is reconnect
    assert ConnectionClosed(code, "", reconnect=not reconnect).reconnect is not reconnect


def test_errors_are_sentences() -> None:
    assert str(ConnectionFailed(403, "Not you.")) == "Not you. (HTTP 403)"
    assert str(ConnectionFailed(None, "Away.")) == "Away."
    assert str(ConnectionClosed(1005, "")) == "The connection is closed: no reason given (1005)."
    assert str(EventsLost(3)) == "3 events came faster than they were read, and were dropped."
    assert (
        str(RequestError({"code": "a", "message": "B.", "incident": "c"})) == "a: B. (incident c)"
    )


def test_a_request_error_has_all_that_the_server_said() -> None:
    fields = [{"pointer": "/a", "code": "required", "message": "Missing."}]
    said = {"code": "rate_limited", "message": "Slower.", "retryable": True, "fields": fields}
    error = RequestError({**said, "retry_after": 2, "hint": "wait"})
    assert (error.code, error.message, error.retryable) == ("rate_limited", "Slower.", True)
    assert (error.fields, error.incident) == (fields, None)
    assert error.extra == {"retry_after": 2, "hint": "wait"}
    assert str(error) == "rate_limited: Slower.\n  /a: Missing. (required)"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailed(503, "Full.", 2.5, reconnect=False),
        ConnectionClosed(4001, "shutdown", reconnect=False, after=1.5),
        RequestError({"code": "a", "message": "B.", "retry_after": 1}),
    ],
)
def test_a_copy_says_the_same(error: JackfieldError) -> None:
    assert vars(copy(error)) == vars(error)
    assert str(copy(error)) == str(error)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ConnectionFailed(503, "", 2.5), 2.5),
        (ConnectionFailed(503, ""), 0),
        (ConnectionFailed(403, "", 2.5), None),
        (ConnectionClosed(4001, "", after=1.5), 1.5),
        (ConnectionClosed(4001, ""), 0),
        (ConnectionClosed(4502, "", after=1.5), None),
        (RequestError({"code": "a", "message": "", "retryable": True, "retry_after": 3}), 3),
        (RequestError({"code": "a", "message": "", "retryable": True}), 0),
        (RequestError({"code": "a", "message": "", "retry_after": 3}), None),
        (TimeoutError(), 0),
        (StreamBroken(), None),
        (ValueError(), None),
    ],
)
def test_only_a_temporary_failure_has_a_time_to_try_again(
    error: Exception, seconds: float | None
) -> None:
    assert retry_after(error) == seconds
