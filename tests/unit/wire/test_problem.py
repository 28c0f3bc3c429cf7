"""An error over HTTP is the same object as on the socket, and a problem of RFC 9457."""

import msgspec

from jackfield.wire.errors import Error
from jackfield.wire.problem import problem


def body(response: object) -> bytes:
    content = getattr(response, "body", None)
    assert isinstance(content, bytes)
    return content


def test_the_body_is_the_error_object_with_status_and_title() -> None:
    error = Error("rate_limited", retry_after=2.5)
    response = problem(error, 429)
    assert response.status == 429
    assert response.content_type == "application/problem+json"
    assert msgspec.json.decode(body(response)) == {
        "status": 429,
        "title": "Too many requests.",
        **error.as_dict(),
    }


def test_further_headers_are_sent() -> None:
    response = problem(Error("unavailable"), 503, {"Retry-After": "1"})
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Content-Type"] == "application/problem+json"


def test_the_keys_of_the_error_are_behind_the_problems_own() -> None:
    told = msgspec.json.decode(body(problem(Error("not_found", "No such page."), 404)))
    assert list(told) == ["status", "title", "code", "message", "retryable"]
    assert told["title"] == told["message"] == "No such page."
