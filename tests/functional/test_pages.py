"""Pages of plugins over HTTP: served like the console, beside the client, or not at all."""

import gzip
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import hdrs
from yarl import URL

from jackfield import Plugin, Runtime
from jackfield.app import create_app
from jackfield.config import load_settings
from jackfield.page import OWN
from jackfield.testing import run_server
from jackfield_chat import chat

Config = Mapping[str, Any]

ROOT: Final = Path(__file__).parents[2]
CLIENT: Final = ROOT / "client/src"
#: Bytes of everything that the first load takes, heads and all; two thirds of the 150 KB that it
#: may be, as for the console.
FIRST_LOAD: Final = 100_000

_LINKED: Final = re.compile(r'(?:href|src)="([^"#]+)"')
_IMPORTED: Final = re.compile(r'^(?:import|export)\b[^;]*?from "(\.[^"]+)";', re.MULTILINE)


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


def loaded_by_chat() -> set[str]:
    """The paths of all that a browser loads for the chat's page, found as it finds them."""
    texts = files_of_chat()
    texts |= {f"/jackfield/{path.name}": path.read_text("utf-8") for path in CLIENT.glob("*.js")}
    found: set[str] = set()
    unread = {"/chat/index.html"}
    while unread:
        path = unread.pop()
        found.add(path)
        pattern = _LINKED if path.endswith(".html") else _IMPORTED
        base = URL(f"http://x{path}")
        named = {base.join(URL(name)).path for name in pattern.findall(texts[path])}
        unread |= named - found
    return found


async def test_every_file_of_the_chat_is_there_and_fetched_at_once(config: Config) -> None:
    loaded = loaded_by_chat()
    assert {path for path in loaded if path.startswith("/chat/")} == set(files_of_chat())
    base = URL("http://x/chat/index.html")
    linked = {base.join(URL(name)).path for name in _LINKED.findall(files_of_chat()[base.path])}
    # Without this a browser learns of each module only from the one that imports it.
    assert linked == loaded - {base.path}
    transferred = 0
    headers = {"Accept-Encoding": "gzip"}
    async with run_server(chat, config=config) as server, session(server.address) as http:
        for path in loaded:
            async with http.get(path, headers=headers) as response:
                assert response.status == 200, path
                transferred += sum(len(key) + len(value) + 4 for key, value in response.raw_headers)
                transferred += len(await response.read())
    assert transferred < FIRST_LOAD


def test_nothing_in_the_chat_needs_the_policy_to_be_weaker() -> None:
    texts = files_of_chat()
    page = texts["/chat/index.html"]
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:|https?:", page) == []
    markup = r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function)\b\s*[=(]"
    assert [path for path, text in texts.items() if re.search(markup, text)] == []
