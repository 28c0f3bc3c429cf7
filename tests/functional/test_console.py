"""The console over HTTP: where it is served, with what headers, and that nothing is missing."""

import gzip
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import hdrs
from yarl import URL

from jackfield import Plugin
from jackfield.config import load_settings
from jackfield.schema.validation import AnyPayload
from jackfield.testing import RunningServer, run_server
from tests.support.pages import (
    FIRST_LOAD,
    PAGE,
    assert_policy_holds,
    first_load,
    linked,
    loaded,
    with_client,
)
from tests.support.paths import ROOT

Config = Mapping[str, Any]

STATIC: Final = ROOT / "server/jackfield/http/console/static"


@pytest.fixture
async def server(config: Config) -> AsyncIterator[RunningServer]:
    async with run_server(config=config) as running:
        yield running


@pytest.fixture
async def http(server: RunningServer) -> AsyncIterator[aiohttp.ClientSession]:
    """What shows the bytes as they go over the line."""
    async with aiohttp.ClientSession(server.address, auto_decompress=False) as session:
        yield session


def files() -> dict[str, str]:
    """The console's texts by their paths; its page is at the root."""
    texts = {
        f"/console/{path.relative_to(STATIC).as_posix()}": path.read_text("utf-8")
        for path in STATIC.rglob("*.*")
        if path.name != "package.json"  # which only tells Node that these are modules
    }
    texts["/"] = texts.pop("/console/index.html")
    return texts


async def test_a_browser_gets_the_console_and_a_program_what_this_is(
    server: RunningServer, http: aiohttp.ClientSession
) -> None:
    async with http.get("/", headers=PAGE) as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        assert gzip.decompress(await response.read()) == (STATIC / "index.html").read_bytes()
    async with http.get("/", headers={"Accept": "*/*", "Accept-Encoding": "identity"}) as response:
        assert (await response.json())["websocket"] == server.url
        # A cache must not give the one to who asks for the other.
        assert "Accept" in response.headers.getall(hdrs.VARY)[0].split(", ")


async def test_where_it_is_off_there_is_nothing_of_it(config: Config) -> None:
    off = {**config, "server": {"console": False}}
    async with run_server(config=off) as server, aiohttp.ClientSession(server.address) as http:
        async with http.get("/", headers=PAGE) as response:
            assert response.content_type == "application/json"
        async with http.get("/console/main.js") as response:
            assert response.status == 404


def test_it_is_on_by_itself_only_where_no_other_machine_can_see_it() -> None:
    auth = {"anonymous": True, "anonymous_on_any_address": True}

    def is_on(**server: Any) -> bool:
        return load_settings(None, {}, {"server": server, "auth": auth}).server.console

    assert [is_on(host=host) for host in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert not is_on(host="0.0.0.0")
    assert is_on(host="0.0.0.0", console=True)
    assert not is_on(console=False)


@pytest.mark.parametrize("path", ["/", "/console/icon.svg"])
async def test_what_a_browser_shows_of_it_may_do_nothing_but_what_it_does(
    http: aiohttp.ClientSession, path: str
) -> None:
    async with http.get(path, headers=PAGE) as response:
        headers = response.headers
    policy = dict(each.split(" ", 1) for each in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    for source in ("script-src", "style-src", "connect-src", "img-src"):
        assert policy[source] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/console/main.js", "/console/base.css"])
async def test_nothing_of_it_is_taken_for_what_it_is_not(
    http: aiohttp.ClientSession, path: str
) -> None:
    async with http.get(path, headers=PAGE) as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert response.headers["Cache-Control"] == "no-cache"


def test_nothing_in_its_page_needs_the_policy_to_be_weaker() -> None:
    assert_policy_holds("/", files())


async def test_what_a_browser_has_already_is_not_sent_again(http: aiohttp.ClientSession) -> None:
    async with http.get("/console/main.js", headers=PAGE) as response:
        tag = response.headers[hdrs.ETAG]
        assert response.headers[hdrs.CONTENT_ENCODING] == "gzip"
    for condition in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        known = {**PAGE, hdrs.IF_NONE_MATCH: condition}
        async with http.get("/console/main.js", headers=known) as response:
            assert response.status == 304
            assert response.headers[hdrs.ETAG] == tag
            assert await response.read() == b""
    for changed in ({hdrs.IF_NONE_MATCH: '"other"'}, {hdrs.ACCEPT_ENCODING: "identity"}):
        asked = {**PAGE, hdrs.IF_NONE_MATCH: tag, **changed}
        async with http.get("/console/main.js", headers=asked) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "gzip"),
        ("br;q=1.0, GZIP;q=0.2", "gzip"),
        ("*", "gzip"),
        ("identity", None),
        ("gzip;q=0", None),
        ("gzip; q=0.000", None),
        ("br", None),
    ],
)
async def test_it_is_compressed_for_who_takes_that(
    http: aiohttp.ClientSession, accepted: str, encoding: str | None
) -> None:
    async with http.get("/console/main.js", headers={"Accept-Encoding": accepted}) as response:
        assert response.headers.get(hdrs.CONTENT_ENCODING) == encoding
        assert response.headers[hdrs.VARY] == hdrs.ACCEPT_ENCODING
        body = await response.read()
    plain = gzip.decompress(body) if encoding else body
    assert plain == (STATIC / "main.js").read_bytes()


async def test_a_head_is_answered_like_a_get_without_its_body(http: aiohttp.ClientSession) -> None:
    async with http.head("/", headers=PAGE) as head, http.get("/", headers=PAGE) as got:
        assert head.status == 200
        assert head.headers[hdrs.ETAG] == got.headers[hdrs.ETAG]
        assert await head.read() == b""


@pytest.mark.parametrize(
    "path",
    [
        "missing.js",
        "jackfield",
        "jackfield/",
        "package.json",
        "__init__.py",
        "../__init__.py",
        "%2e%2e/__init__.py",
        "..%2f__init__.py",
        "jackfield/..%2f..%2f__init__.py",
        "%2fetc%2fpasswd",
        "main.js%00.css",
        "static/main.js",
        "MAIN.JS",
    ],
)
async def test_there_is_nothing_but_its_files(http: aiohttp.ClientSession, path: str) -> None:
    # As it stands: yarl would mend what is to be tried.
    async with http.get(URL(f"/console/{path}", encoded=True)) as response:
        assert response.status == 404


async def test_what_is_not_there_is_told_in_the_servers_words(http: aiohttp.ClientSession) -> None:
    async with http.get("/console/missing.js", headers={"Accept-Encoding": "identity"}) as response:
        assert response.content_type == "application/problem+json"
        assert (await response.json(content_type=None))["code"] == "not_found"


async def test_every_file_that_it_names_is_served_as_what_it_is(
    http: aiohttp.ClientSession,
) -> None:
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for path in sorted(loaded("/", with_client(files()))):
        async with http.get(path, headers=PAGE) as response:
            assert response.status == 200, path
            assert response.content_type == kinds[Path(path).suffix]
            assert response.charset == "utf-8"


def test_every_file_is_named_and_every_module_is_fetched_at_once() -> None:
    texts = with_client(files())
    paths = loaded("/", texts)
    assert paths == set(texts) - {"/"}
    # Without this a browser learns of each module only from the one that imports it.
    assert {path for path in paths if path.endswith(".js")} <= linked("/", texts["/"])


async def test_the_first_load_is_small(http: aiohttp.ClientSession) -> None:
    assert await first_load(http, ["/", *loaded("/", with_client(files()))]) < FIRST_LOAD


async def test_it_learns_of_topics_what_the_scopes_of_its_user_show(config: Config) -> None:
    plugin = Plugin("board")
    plugin.topic("board:{name}", AnyPayload, history=7, ttl="1d", presence=True, publish=True)
    plugin.topic("staff:{name}", AnyPayload, history=0, ttl="1d", scopes=["staff"])
    debug = {**config, "server": {"debug": True}}
    async with run_server(plugin, config=debug) as server, server.connect() as client:
        topics = (await client.request("session.describe"))["topics"]
        one = await client.request("session.describe", {"type": "session.ping"})
    known = {each["pattern"]: each for each in topics}
    assert "broadcast" in known
    assert "staff:{name}" not in known
    board = known["board:{name}"]
    assert board.pop("event")["type"] == "object"
    assert board == {
        "pattern": "board:{name}",
        "plugin": "board",
        "history": 7,
        "presence": True,
        "publish": True,
        "scopes": [],
    }
    assert set(one) == {"types"}


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_the_parts_of_it_that_need_no_browser_keep_their_promises() -> None:
    tests = sorted((ROOT / "tests/console").glob("*.test.js"))
    done = subprocess.run(
        ["node", "--test", *tests], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
