"""An error over HTTP is the same object as on the socket, and a problem of RFC 9457."""

import msgspec
import pytest
from aiohttp import web

from jackfield.wire.errors import Error
from jackfield.wire.problem import problem, problem_of


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


@pytest.mark.parametrize(("wait", "told"), [(0.2, "1"), (1.0, "1"), (1.2, "2"), (59.01, "60")])
def test_the_header_never_says_to_come_back_too_early(wait: float, told: str) -> None:
    assert problem(Error("unavailable", retry_after=wait), 503).headers["Retry-After"] == told


def test_an_error_that_tells_no_wait_has_no_such_header() -> None:
    assert "Retry-After" not in problem(Error("not_found"), 404).headers


def test_what_aiohttp_raises_is_told_in_the_protocols_words() -> None:
    response = problem_of(web.HTTPMethodNotAllowed("PUT", ["POST", "GET"]))
    assert response.headers["Allow"] == "GET, POST"
    told = msgspec.json.decode(body(response))
    assert (told["status"], told["message"]) == (405, "This is not for PUT, but for GET, POST.")
    codes = {web.HTTPNotFound: "not_found", web.HTTPExpectationFailed: "invalid_message"}
    for kind, code in codes.items():
        assert msgspec.json.decode(body(problem_of(kind())))["code"] == code
