"""Files of pages are read once, and answered with what keeps a page safe."""

import gzip
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from jackfield.declaration.assets import Asset, read_assets

SCRIPT = Asset("text/javascript", b"const one = 1;\n" * 50)
DOCUMENT = Asset("text/html", b"<!doctype html><title>x</title>")


def response(asset: Asset, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = asset.respond(make_mocked_request("GET", "/x", named))
    body = answer.body
    assert body is None or isinstance(body, bytes)
    return answer.status, answer.headers, body or b""


def test_only_files_that_pages_load_are_read_by_their_path(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for name in (
        "index.html",
        "parts/a.js",
        "parts/b.css",
        "icon.svg",
        "notes.md",
        "js",
        ".js.bak",
    ):
        (tmp_path / name).write_text(name)
    assets = read_assets(tmp_path)
    assert {path: asset.content_type for path, asset in assets.items()} == {
        "index.html": "text/html",
        "parts/a.js": "text/javascript",
        "parts/b.css": "text/css",
        "icon.svg": "image/svg+xml",
    }
    assert assets["parts/a.js"].body == b"parts/a.js"


def test_a_file_is_answered_as_it_is() -> None:
    status, headers, body = response(SCRIPT)
    assert (status, body) == (200, SCRIPT.body)
    assert headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in headers


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("br", False),
        ("", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("identity", False),
    ],
)
def test_it_is_compressed_for_those_who_take_gzip(accepted: str, zipped: bool) -> None:  # noqa: FBT001
    _, headers, body = response(SCRIPT, Accept_Encoding=accepted)
    assert (headers.get("Content-Encoding") == "gzip") is zipped
    assert (gzip.decompress(body) if zipped else body) == SCRIPT.body


@pytest.mark.parametrize("accepted", ["gzip", ""])
def test_a_version_that_the_client_has_is_not_sent_again(accepted: str) -> None:
    _, headers, _ = response(SCRIPT, Accept_Encoding=accepted)
    tag = headers["ETag"]
    for condition in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        status, again, body = response(SCRIPT, Accept_Encoding=accepted, If_None_Match=condition)
        assert (status, body, again["ETag"]) == (304, b"", tag)
    assert response(SCRIPT, Accept_Encoding=accepted, If_None_Match='"other"')[0] == 200


def test_each_content_and_each_encoding_has_a_tag_of_its_own() -> None:
    tags = {
        response(asset, Accept_Encoding=accepted)[1]["ETag"]
        for asset in (SCRIPT, DOCUMENT)
        for accepted in ("gzip", "")
    }
    assert len(tags) == 4


def test_a_compressed_file_is_the_same_on_every_node() -> None:
    assert Asset("text/css", b"x").compressed == Asset("text/css", b"x").compressed


def test_only_what_a_browser_shows_by_itself_has_a_policy() -> None:
    assert "default-src 'none'" in response(DOCUMENT)[1]["Content-Security-Policy"]
    assert "Content-Security-Policy" in response(Asset("image/svg+xml", b"<svg/>"))[1]
    assert "Content-Security-Policy" not in response(SCRIPT)[1]
