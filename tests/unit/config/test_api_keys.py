"""The file of API keys: what it may say, and that nothing shows a key."""

import hashlib
from pathlib import Path

import pytest

from tests.support.configuration import load, problem_of


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "There is no key in the file"),
        ("# nothing\n\n", "There is no key in the file"),
        ("short tickets", "Line 1: a key has 32 characters at least"),
        (f"\n{'k' * 32}", "Line 2: behind a key must stand what it may do"),
        (f"{'k' * 32} tickets hunter2", "Line 1: behind a key must stand what it may do"),
        (f"{'k' * 32} *\n{'k' * 32} revoke", "Line 2: this key has a line already"),
    ],
)
def test_a_wrong_file_of_api_keys_is_refused_without_its_content(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    path.write_text(text)

    found = problem_of(api={"keys_file": str(path)})

    assert message in found
    assert "kkkk" not in found
    assert "hunter2" not in found


def test_api_keys_are_not_kept_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"{'k' * 32} tickets revoke # of the shop\n{'j' * 40} *\n")

    api = load(api={"keys_file": str(path)}).api

    assert [key.scopes for key in api.keys] == [
        {"tickets", "revoke"},
        {"tickets", "revoke", "disconnect"},
    ]
    assert api.keys[0].fits(hashlib.sha256(b"k" * 32).digest())
    assert "kkk" not in repr(api)
    assert repr(api.keys[0].digest) not in repr(api)
