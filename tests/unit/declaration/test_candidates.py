"""Candidates are found by their entry points, and not imported before they are loaded."""

import sys
from pathlib import Path

import pytest

from jackfield import Plugin
from jackfield.declaration.candidates import discover


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A distribution with one plugin, on the path; the name of its module."""
    module = f"found_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(
        f"from jackfield import Plugin\nfound = Plugin('{module}')\n"
    )
    metadata = tmp_path / "jackfield_found-1.5.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: jackfield-found\nVersion: 1.5\n"
    )
    (metadata / "entry_points.txt").write_text(
        f"[jackfield.plugins]\nfound = {module}:found\n[other.group]\nother = {module}:found\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return module


def test_a_plugin_is_found_with_what_it_comes_from(installed: str) -> None:
    (candidate,) = [each for each in discover() if each.name == "found"]
    assert (candidate.distribution, candidate.version) == ("jackfield-found", "1.5")
    assert installed not in sys.modules
    plugin = candidate.load()
    assert isinstance(plugin, Plugin)
    assert plugin.name == installed


def test_another_group_has_its_own(installed: str) -> None:
    (candidate,) = discover("other.group")
    assert candidate.name == "other"
    assert installed not in sys.modules
    assert discover("no.such.group") == []


def test_the_built_in_plugins_are_found_like_any_other() -> None:
    own = {each.name for each in discover() if each.distribution == "jackfield"}
    assert own == {"agent", "auth", "request", "session", "topic"}
