"""Pages of plugins over HTTP: served like the console, beside the client, or not at all."""

import gzip
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import hdrs
from yarl import URL

from jackfield import Plugin, Runtime
from jackfield.app import create_app
from jackfield.config import load_settings
from jackfield.declaration.page import OWN
from jackfield.testing import run_server
from jackfield_chat import chat
from tests.support.pages import (
    CLIENT,
    FIRST_LOAD,
    assert_policy_holds,
    first_load,
    linked,
    loaded,
    with_client,
)

Config = Mapping[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("<!doctype html><title>Board</title>")
    (tmp_path / "main.js").write_text('import "../jackfield/index.js";')
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/list.css").write_text("ul { margin: 0 }")
    return tmp_path


@pytest.fixture
def board(folder: Path) -> Plugin:
    plugin = Plugin("board")
    plugin.page("/board", folder)
    return plugin


@pytest.fixture
async def http(board: Plugin, config: Config) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server with the page, and with the console off."""
    off = {**config, "server": {"console": False}}
    async with run_server(board, config=off) as server, session(server.address) as http:
        yield http


def session(address: str) -> aiohttp.ClientSession:
    """What shows the bytes as they go over the line."""
    return aiohttp.ClientSession(address, auto_decompress=False)


async def test_a_page_is_seen_at_its_path(http: aiohttp.ClientSession, folder: Path) -> None:
    async with http.get("/board", headers={"Accept-Encoding": "identity"}) as response:
        assert response.status == 200
        # Its files lie beside it, for the browser too.
        assert response.url.path == "/board/"
        assert response.content_type == "text/html"
        assert await response.read() == (folder / "index.html").read_bytes()


@pytest.mark.parametrize(
    ("path", "content_type"),
    [("/board/main.js", "text/javascript"), ("/board/parts/list.css", "text/css")],
)
async def test_its_files_are_served_from_its_folder(
    http: aiohttp.ClientSession, path: str, content_type: str
) -> None:
    async with http.get(path) as response:
        assert response.status == 200
        assert response.content_type == content_type


async def test_what_leads_to_a_page_keeps_its_query_and_whatever_stands_before_its_path(
    http: aiohttp.ClientSession,
) -> None:
    async with http.get(URL("/board?q=a%20b", encoded=True), allow_redirects=False) as response:
        assert response.status == 307
        assert response.headers[hdrs.LOCATION] == "board/?q=a%20b"


async def test_a_page_may_do_what_the_console_may(
    http: aiohttp.ClientSession, board: Plugin, config: Config
) -> None:
    async with run_server(board, config=config) as server, session(server.address) as other:
        async with other.get("/", headers={"Accept": "text/html"}) as response:
            console = response.headers
    async with http.get("/board/", headers={"Accept-Encoding": "gzip"}) as response:
        page = response.headers
        assert response.headers[hdrs.CONTENT_ENCODING] == "gzip"
    differing = {hdrs.ETAG, hdrs.VARY, hdrs.CONTENT_LENGTH, hdrs.DATE}
    assert "Content-Security-Policy" in page
    assert {name: value for name, value in page.items() if name not in differing} == {
        name: value for name, value in console.items() if name not in differing
    }


async def test_what_a_browser_has_of_a_page_is_not_sent_again(http: aiohttp.ClientSession) -> None:
    async with http.get("/board/main.js") as response:
        tag = response.headers[hdrs.ETAG]
    async with http.get("/board/main.js", headers={hdrs.IF_NONE_MATCH: tag}) as response:
        assert response.status == 304


@pytest.mark.parametrize(
    "path",
    ["secret.txt", "parts", "parts/", "missing.js", "..%2fboard%2fmain.js", "%2fetc%2fhosts"],
)
async def test_there_is_nothing_but_the_files_of_a_page(
    http: aiohttp.ClientSession, path: str
) -> None:
    async with http.get(URL(f"/board/{path}", encoded=True)) as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"


async def test_any_page_finds_the_client_also_where_the_console_is_off(
    http: aiohttp.ClientSession,
) -> None:
    for module in CLIENT.glob("*.js"):
        headers = {"Accept-Encoding": "gzip"}
        async with http.get(f"/jackfield/{module.name}", headers=headers) as response:
            assert response.status == 200
            assert response.content_type == "text/javascript"
            assert gzip.decompress(await response.read()) == module.read_bytes()
    async with http.get("/jackfield/missing.js") as response:
        assert response.status == 404


async def test_the_page_of_a_plugin_that_fails_to_start_is_left_out(
    board: Plugin, config: Config
) -> None:
    @board.lifespan
    async def start(runtime: Runtime) -> AsyncIterator[None]:
        if runtime.plugin:
            raise RuntimeError("no board")
        yield

    async with run_server(board, config=config) as server, session(server.address) as http:
        for path in ("/board", "/board/", "/board/main.js"):
            async with http.get(path, allow_redirects=False) as response:
                assert response.status == 404, path


def test_no_page_can_stand_where_the_server_has_something() -> None:
    app = create_app(load_settings(None, {}, {}), candidates=[])
    heads = {f"/{resource.canonical.split('/')[1]}" for resource in app.router.resources()}
    assert heads - {"/"} == OWN


def files_of_chat() -> dict[str, str]:
    (page,) = chat.pages
    return {f"/chat/{name}": file.body.decode() for name, file in page.files.items()}


async def test_every_file_of_the_chat_is_there_and_fetched_at_once(config: Config) -> None:
    files, page = files_of_chat(), "/chat/index.html"
    paths = loaded(page, with_client(files))
    assert {path for path in paths if path.startswith("/chat/")} == set(files) - {page}
    # Without this a browser learns of each module only from the one that imports it.
    assert linked(page, files[page]) == paths
    async with run_server(chat, config=config) as server, session(server.address) as http:
        assert await first_load(http, [page, *paths]) < FIRST_LOAD


def test_nothing_in_the_chat_needs_the_policy_to_be_weaker() -> None:
    assert_policy_holds("/chat/index.html", files_of_chat())
