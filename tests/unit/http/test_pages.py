"""A page's files are found at its path while its plugin runs, and nothing else is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from jackfield.dispatch.plugin_entry import Stage
from jackfield.dispatch.registry import Registry
from jackfield.http.pages import page_routes
from tests.support.candidates import candidate, plugin, registry


@pytest.fixture
def made(tmp_path: Path) -> Registry:
    (tmp_path / "index.html").write_text("<p>front</p>")
    (tmp_path / "own.js").write_text("own")
    chat = plugin("chat")
    chat.page("/chat", tmp_path)
    return registry(candidate(chat))


@asynccontextmanager
async def serving(made: Registry) -> AsyncIterator[ClientSession]:
    app = web.Application()
    app.add_routes(page_routes(made))
    async with TestServer(app) as server, ClientSession(server.make_url("/")) as http:
        yield http


async def status(http: ClientSession, path: str) -> int:
    async with http.get(path, allow_redirects=False) as response:
        return response.status


@pytest.mark.parametrize(("path", "text"), [("/chat/", "<p>front</p>"), ("/chat/own.js", "own")])
async def test_its_files_are_at_its_path(made: Registry, path: str, text: str) -> None:
    async with serving(made) as http, http.get(path) as response:
        assert (response.status, await response.text()) == (200, text)


@pytest.mark.parametrize(
    ("path", "location"), [("/chat", "chat/"), ("/chat?a=b%20c", "chat/?a=b%20c")]
)
async def test_its_path_leads_to_its_folder(made: Registry, path: str, location: str) -> None:
    async with serving(made) as http, http.get(path, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (307, location)


async def test_what_is_not_among_its_files_is_not_found(made: Registry) -> None:
    async with serving(made) as http:
        async with http.get("/chat/none.js") as response:
            assert response.status == 404
            assert response.content_type == "application/problem+json"
        assert await status(http, "/jackfield/none.js") == 404


async def test_any_page_may_load_the_client(made: Registry) -> None:
    async with serving(made) as http:
        assert await status(http, "/jackfield/index.js") == 200


async def test_a_plugin_that_failed_to_start_has_no_page(made: Registry) -> None:
    async with serving(made) as http:
        assert await status(http, "/chat/") == 200
        made.entries[0].fail(Stage.START, "it failed to start")
        assert [await status(http, path) for path in ("/chat", "/chat/", "/chat/own.js")] == (
            [404] * 3
        )
