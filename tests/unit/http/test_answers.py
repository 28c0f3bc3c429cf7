"""A `Host` is a name or an address with a port, or it is refused."""

import pytest

from jackfield.http.answers import is_host


@pytest.mark.parametrize(
    "text",
    ["a", "example.org", "example.org:443", "a_b-c.d:", "127.0.0.1:8080", "[::1]", "[::1]:80"],
)
def test_a_host_is_one(text: str) -> None:
    assert is_host(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "a:99999",
        "a:x",
        "a:-1",
        "a b",
        "a/b",
        "a?b",
        "u@a",
        "%zz",
        "[::1",
        "[::::]",
        "[]",
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert not is_host(text)
