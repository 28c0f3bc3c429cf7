"""The lock files answer what setup.cfg asks for, and the ranges there are those that are tested."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.paths import ROOT

LOCKS = ROOT / "requirements"
PLATFORM = {"python_full_version": "3.11.9", "sys_platform": "linux", "platform_machine": "x86_64"}
NODE_LOCKS = [ROOT / folder / "package-lock.json" for folder in ("client", "benchmarks/peers")]


def load_renew() -> ModuleType:
    spec = importlib.util.spec_from_file_location("renew", LOCKS / "renew.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


renew = load_renew()
PURPOSES: dict[str, set[str]] = renew.purposes()


def read(lock: str) -> str:
    return (LOCKS / f"{lock}.txt").read_text("utf-8")


def entries(lock: str) -> list[str]:
    """The requirements of a lock, each with its hashes on one line."""
    return read(lock).replace("\\\n", " ").splitlines()


def versions(lock: str) -> dict[str, Version]:
    """The versions of a lock on one platform."""
    found = {}
    for entry in entries(lock):
        requirement = Requirement(entry.partition(" --hash")[0])
        if requirement.marker is None or requirement.marker.evaluate(PLATFORM):
            (pin,) = requirement.specifier
            found[renew.name_of(requirement.name)] = Version(pin.version)
    return found


def required() -> list[Requirement]:
    """What the core and the plugins require at run time."""
    core = renew.requirements_of(renew.setup_cfg(ROOT)["options"]["install_requires"])
    plugins = {path.name.partition("-")[2] for path in (ROOT / "plugins").iterdir()}
    return [Requirement(line) for line in core.union(*map(renew.plugin_requirements, plugins))]


def test_there_is_a_lock_for_each_purpose() -> None:
    assert {path.stem for path in LOCKS.glob("*.txt")} == {*PURPOSES, "oldest"}


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_lock_answers_all_that_is_asked_for(purpose: str) -> None:
    locked = versions(purpose)
    for requirement in map(Requirement, PURPOSES[purpose]):
        version = locked.get(renew.name_of(requirement.name))
        assert version is not None, f"{requirement}: run make update"
        assert requirement.specifier.contains(version), f"{requirement}: run make update"


def test_all_locks_but_the_oldest_agree() -> None:
    known: dict[str, Version] = {}
    for purpose in PURPOSES:
        for name, version in versions(purpose).items():
            assert known.setdefault(name, version) == version, f"{name} in {purpose}"


@pytest.mark.parametrize("lock", [*PURPOSES, "oldest"])
def test_every_version_of_a_lock_has_hashes_and_no_address(lock: str) -> None:
    pin = re.compile(r"[a-z0-9-]+==[^ ;]+( ; [^\\]+?)? +(--hash=sha256:[0-9a-f]{64} *)+")
    assert entries(lock)
    for entry in entries(lock):
        assert pin.fullmatch(entry), entry
    assert "://" not in read(lock)


@pytest.mark.parametrize("lock", NODE_LOCKS, ids=lambda path: path.parent.name)
def test_every_package_for_node_has_a_hash_and_no_address(lock: Path) -> None:
    text = lock.read_text("utf-8")
    packages = text.count('"node_modules/')
    assert packages > 0
    assert text.count('"integrity": "sha512-') == packages
    assert '"resolved"' not in text


@pytest.mark.parametrize("requirement", required(), ids=str)
def test_what_is_required_has_two_bounds_and_the_oldest_lock_the_lower_one(
    requirement: Requirement,
) -> None:
    bounds = {bound.operator: bound.version for bound in requirement.specifier}
    assert set(bounds) == {">=", "<"}
    assert versions("oldest")[renew.name_of(requirement.name)] == Version(bounds[">="])


def test_what_plugins_require_of_jackfield_is_this_version() -> None:
    version = renew.setup_cfg(ROOT)["metadata"]["version"]
    for folder in (ROOT / "plugins").iterdir():
        (line,) = (
            line
            for line in renew.requirements_of(
                renew.setup_cfg(folder)["options"]["install_requires"]
            )
            if renew.name_of(line) == "jackfield"
        )
        specifier = Requirement(line).specifier
        assert specifier.contains(version)
        assert not specifier.contains("1.0")


def test_changes_are_told_once_with_the_locks_they_are_in() -> None:
    before = {"run": {"a": "1", "b": "1"}, "test": {"a": "1", "b": "1"}}
    after = {"run": {"a": "2", "b": "1"}, "test": {"a": "2", "c": "1"}}
    assert renew.changes(before, after) == [
        "a 1 -> 2  (run, test)\n",
        "b 1 -> (gone)  (test)\n",
        "c (new) -> 1  (test)\n",
    ]
    assert renew.changes(before, before) == ["Nothing has changed.\n"]


def test_a_python_is_declared_if_and_only_if_wheels_are_looked_for() -> None:
    text = (ROOT / "setup.cfg").read_text("utf-8")
    assert tuple(re.findall(r"Python :: (3\.\d+)$", text, re.MULTILINE)) == renew.PYTHONS
    assert sys.version_info[:2] >= tuple(map(int, renew.PYTHONS[0].split(".")))
