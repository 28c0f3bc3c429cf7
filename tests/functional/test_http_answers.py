"""Every answer is in the protocol's words, names no versions, and no body is inflated unasked."""

import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import http_parser

from jackfield.testing import RunningServer, run_server
from tests.support.raw import ask

Config = Mapping[str, Any]
KEY = "k" * 32
#: Opens to 200 MB.
BOMB = gzip.compress(bytes(200_000_000))


@pytest.fixture
async def server(config: Config, tmp_path: Path) -> AsyncIterator[RunningServer]:
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY} tickets\n")
    async with run_server(config={**config, "api": {"keys_file": str(keys)}}) as server:
        yield server


def head(line: str, *headers: str, host: str = "a") -> bytes:
    return "\r\n".join([line, f"Host: {host}", *headers, "Connection: close", "", ""]).encode()


FAILURES = {
    "no host": (head("GET / HTTP/1.1", host=""), 400),
    "a port past all": (head("GET /healthz HTTP/1.1", host="a:99999"), 400),
    "a host with a path": (head("GET / HTTP/1.1", host="a b/c?d"), 400),
    "a port past all at the socket": (head("GET /ws HTTP/1.1", host="a:99999"), 400),
    "nothing there": (head("GET /nothing HTTP/1.1"), 404),
    "another method": (head("DELETE /healthz HTTP/1.1"), 405),
    "an expectation": (head("GET /healthz HTTP/1.1", "Expect: nonsense"), 417),
    "no HTTP": (b"\x16\x03\x01 hello\r\n\r\n", 400),
    "no header": (b"GET / HTTP/1.1\r\nHost a\r\n\r\n", 400),
    "broken chunks": (head("GET / HTTP/1.1", "Transfer-Encoding: chunked") + b"zz\r\n", 400),
    "a large head": (b"GET / HTTP/1.1\r\n" + (b"X: " + b"x" * 1000 + b"\r\n") * 40, 431),
    "no key": (head("POST /api/v1/tickets HTTP/1.1"), 401),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_is_a_problem_without_a_trace(
    server: RunningServer, logged: Callable[[], str], name: str
) -> None:
    request, expected = FAILURES[name]
    answer = await ask(server, request)
    assert answer.problem["status"] == expected
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Server" not in answer.headers
    assert "Traceback" not in logged()


async def test_who_uses_another_method_is_told_which_there_are(server: RunningServer) -> None:
    answer = await ask(server, head("DELETE /healthz HTTP/1.1"))
    assert answer.headers["Allow"] == "GET, HEAD"
    assert answer.problem["message"] == "This is not for DELETE, but for GET, HEAD."


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/jackfield/index.js"])
async def test_an_answer_names_no_versions_and_is_what_it_says(
    server: RunningServer, path: str
) -> None:
    answer = await ask(server, head(f"GET {path} HTTP/1.1"))
    assert answer.status == 200
    assert "Server" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_http_1_0_needs_no_host(server: RunningServer) -> None:
    assert (await ask(server, b"GET /healthz HTTP/1.0\r\n\r\n")).status == 200
    about = await ask(server, b"GET / HTTP/1.0\r\n\r\n")
    assert msgspec.json.decode(about.body)["websocket"] == server.url


async def test_strangers_together_have_few_lines_in_the_log(
    server: RunningServer, logged: Callable[[], str]
) -> None:
    before = logged().count("\n")
    for _ in range(40):
        for request, _ in FAILURES.values():
            await ask(server, request)
    assert logged().count("\n") - before < 200


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/metrics", "/ws", "/nothing", "/api/v1/tickets"]
)
async def test_a_body_that_nobody_asks_for_is_not_inflated(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    inflated: list[object] = []
    monkeypatch.setattr(http_parser.DeflateBuffer, "feed_data", lambda *data: inflated.append(data))
    length = f"Content-Length: {len(BOMB)}"
    method = "POST" if path.startswith("/api") else "GET"
    request = head(f"{method} {path} HTTP/1.1", length, "Content-Encoding: gzip") + BOMB
    assert (await ask(server, request)).status in {200, 401, 404, 426}
    assert inflated == []


class _Counting:
    """zlib, and how many bytes it has inflated."""

    error = zlib.error

    def __init__(self) -> None:
        self.inflated = 0

    def decompressobj(self, window: int) -> Any:
        self._stream = zlib.decompressobj(window)
        return self

    def decompress(self, data: bytes, most: int) -> bytes:
        inflated = self._stream.decompress(data, most)
        self.inflated += len(inflated)
        return inflated

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


async def post(server: RunningServer, body: bytes, coding: str) -> tuple[int, dict[str, Any], str]:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Encoding": coding}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{server.address}/api/v1/tickets", data=body, headers=headers) as response,
    ):
        answer = await response.json(content_type=None)
        return response.status, answer, response.headers.get("Accept-Encoding", "")


async def test_a_body_is_inflated_up_to_the_limit_of_its_route(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = _Counting()
    monkeypatch.setattr("jackfield.http.body.zlib", counting)
    status, answer, _ = await post(server, gzip.compress(bytes(10_000_000)), "gzip")
    assert (status, answer["code"]) == (413, "too_large")
    assert counting.inflated == answer["limit"] + 1
    # One that is too large as it comes is not inflated at all, however little is in it.
    status, answer, _ = await post(server, BOMB, "gzip")
    assert (status, answer["code"]) == (413, "too_large")
    assert counting.inflated == answer["limit"] + 1


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)],
)
async def test_a_compressed_body_is_read(
    server: RunningServer, coding: str, compress: Callable[[bytes], bytes]
) -> None:
    status, answer, _ = await post(server, compress(b'{"user": "ada"}'), coding)
    assert status == 201
    assert answer["ticket"]


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"{}"),
        ("gzip", gzip.compress(b'{"user": "ada"}')[:-9]),
        ("gzip", gzip.compress(b'{"user": "ada"}') + b"more"),
        ("deflate", b"{}"),
    ],
    ids=["not", "cut", "more", "deflate"],
)
async def test_a_body_that_is_not_compressed_as_it_says_is_refused(
    server: RunningServer, coding: str, body: bytes
) -> None:
    status, answer, _ = await post(server, body, coding)
    assert (status, answer["code"]) == (400, "invalid_message")
    assert coding in answer["message"]


async def test_who_compresses_in_another_way_is_told_which_are_known(server: RunningServer) -> None:
    status, answer, known = await post(server, b"{}", "br")
    assert (status, answer["code"], known) == (415, "invalid_message", "gzip, deflate")
