"""A page has a path of its own, and a folder with an index."""

from pathlib import Path
from typing import Any

import pytest

from jackfield import RegistrationError
from jackfield.declaration.page import Page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "main.js").write_text("1;")
    return tmp_path


def refusal(path: Any, folder: Any) -> str:
    with pytest.raises(RegistrationError) as caught:
        Page("chat", path, folder)
    words = str(caught.value)
    assert words.startswith("plugin 'chat': ")
    return words.removeprefix("plugin 'chat': ")


@pytest.mark.parametrize("path", ["/chat", "/c", "/my_page-2"])
def test_a_page_is_its_path_and_its_files(path: str, folder: Path) -> None:
    page = Page("chat", path, folder)
    assert page.path == path
    assert set(page.files) == {"index.html", "main.js"}
    assert str(page) == f"page {path!r}"


@pytest.mark.parametrize(
    "path", ["chat", "/", "//chat", "/chat/", "/a/b", "/Chat", "/2", "/ä", "/a b", "/a\n", None, 7]
)
def test_what_is_no_path_of_one_word_is_refused(path: Any, folder: Path) -> None:
    assert refusal(path, folder).startswith(f"{path!r} can't be a page's path: write '/'")


@pytest.mark.parametrize(
    "path", ["/api", "/console", "/healthz", "/jackfield", "/metrics", "/readyz", "/ws"]
)
def test_the_servers_own_paths_are_taken(path: str, folder: Path) -> None:
    assert refusal(path, folder) == (
        f"page {path!r} would stand where the server's own is: rename it"
    )


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    assert refusal("/chat", "static").startswith("the folder of page '/chat' must be a ")
    assert refusal("/chat", tmp_path / "none").startswith(
        "the folder of page '/chat' can't be read: "
    )


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.js").write_text("1;")
    assert refusal("/chat", tmp_path) == (
        "the folder of page '/chat' has no index.html: is it package data?"
    )
