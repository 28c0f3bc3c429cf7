"""The Makefile installs what the locks name, and nothing else."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copy, copytree

import pytest

from tests.support.paths import ROOT

# What is locked is fetched from an index, if only one small distribution of it.
pytestmark = pytest.mark.timeout(300)

#: The first two steps of an installation, for which setuptools is all that is fetched.
SMALL = "build.txt"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what an installation reads."""
    copy(ROOT / "Makefile", tmp_path)
    copy(ROOT / "setup.cfg", tmp_path)
    copy(ROOT / "pyproject.toml", tmp_path)
    copytree(ROOT / "requirements", tmp_path / "requirements")
    # Of what running needs, so little that the test is about the first lock.
    (tmp_path / "requirements" / "run.txt").write_text("")
    return tmp_path


def make(project: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run make, with nothing of the one that runs the tests."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    environ = {key: value for key, value in environ.items() if key not in ("MFLAGS", "PYTHON")}
    command = ["make", "-C", str(project), *options]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def install(project: Path) -> "subprocess.CompletedProcess[str]":
    """As `make run` and `make test` begin."""
    return make(project, ".venv/run")


def change(project: Path, how: Callable[[str], str]) -> None:
    lock = project / "requirements" / SMALL
    before = lock.read_text()
    lock.write_text(how(before))
    assert lock.read_text() != before


def test_what_the_locks_name_is_installed(project: Path) -> None:
    done = install(project)
    assert done.returncode == 0, done.stderr
    assert (project / ".venv" / "run").exists()
    # Nothing is printed but what it does.
    assert done.stderr == ""


def test_a_hash_that_is_not_that_of_the_file_installs_nothing(project: Path) -> None:
    change(project, lambda lock: re.sub(r"(?<=sha256:)[0-9a-f]{64}", "5" * 64, lock))
    done = install(project)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (project / ".venv" / "run").exists()


def test_a_version_without_a_hash_installs_nothing(project: Path) -> None:
    change(project, lambda lock: re.sub(r" *\\\n *--hash=\S+", "", lock))
    done = install(project)
    assert done.returncode != 0
    assert "Hashes are required" in done.stderr
    assert not (project / ".venv" / "run").exists()


def test_a_lock_that_has_changed_is_installed_again(project: Path) -> None:
    assert install(project).returncode == 0
    assert "Installing" not in install(project).stdout
    lock = project / "requirements" / SMALL
    os.utime(lock, (newer := (project / ".venv" / "run").stat().st_mtime + 2, newer))
    assert "Installing what 'run' needs" in install(project).stdout


def test_an_environment_of_another_python_is_made_anew_when_one_is_named(project: Path) -> None:
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho another\n")
    python.chmod(0o755)
    assert make(project, ".venv/bin/python").returncode == 0
    assert not python.is_symlink()
    for _ in range(2):
        done = make(project, ".venv/bin/python", f"PYTHON={sys.executable}")
        assert done.returncode == 0
        assert python.resolve() == Path(sys.executable).resolve()
    assert "Making" not in done.stdout
