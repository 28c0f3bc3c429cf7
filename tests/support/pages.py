"""What a browser loads for a page, and what its policy forbids: for the tests of pages."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import aiohttp
from yarl import URL

from tests.support import paths

#: The client's modules, which every page finds at ``/jackfield/``.
CLIENT: Final = paths.CLIENT / "src"
#: As a browser asks for a page.
PAGE: Final = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Encoding": "gzip"}
#: Bytes of everything that the first load takes, heads and all: with two thirds of the 150 KB that
#: it may be, there is room for it to grow.
FIRST_LOAD: Final = 100_000

_LINKED: Final = re.compile(r'(?:href|src)="([^"#]+)"')
_IMPORTED: Final = re.compile(r'^(?:import|export)\b[^;]*?from "(\.[^"]+)";', re.MULTILINE)
#: What makes markup, or a program, of text.
_MARKUP: Final = re.compile(
    r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function)\b\s*[=(]"
)

Texts = Mapping[str, str]


def with_client(texts: Texts) -> Texts:
    """The texts of a page's files by their paths, and those of the client's modules."""
    modules = {f"/jackfield/{path.name}": path.read_text("utf-8") for path in CLIENT.glob("*.js")}
    return {**texts, **modules}


def linked(page: str, text: str) -> set[str]:
    """The paths that a page itself names."""
    return {URL(f"http://x{page}").join(URL(name)).path for name in _LINKED.findall(text)}


def loaded(page: str, texts: Texts) -> set[str]:
    """The paths of all that a browser loads for a page beside it, found as it finds them."""
    found: set[str] = set()
    unread = linked(page, texts[page])
    while unread:
        path = unread.pop()
        found.add(path)
        base = URL(f"http://x{path}")
        named = {base.join(URL(name)).path for name in _IMPORTED.findall(texts.get(path, ""))}
        unread |= named - found
    return found


async def first_load(http: aiohttp.ClientSession, paths: Iterable[str]) -> int:
    """The bytes that some paths take over the line, heads and all; each must be there."""
    transferred = 0
    for path in paths:
        async with http.get(path, headers=PAGE) as response:
            assert response.status == 200, path
            transferred += sum(len(key) + len(value) + 4 for key, value in response.raw_headers)
            transferred += len(await response.read())
    return transferred


def assert_policy_holds(page: str, texts: Texts) -> None:
    """Assert that nothing needs the content security policy to be weaker than it is."""
    assert re.findall(r"<script(?![^>]*\bsrc=)", texts[page]) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:|https?:", texts[page]) == []
    assert [path for path, text in texts.items() if _MARKUP.search(text)] == []
