"""What the design document, the contract and the folders say of the rooms, and that they agree."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

from tests.support.paths import DOCS, ROOT

PACKAGE = ROOT / "server/jackfield"
#: More in one file is two purposes.
MAX_LINES = 400
MAX_TEST_LINES = 600
#: Modules at the root put the rooms together; what more there is belongs into one.
MAX_ROOT_MODULES = 14


def rooms_of_the_contract() -> list[set[str]]:
    """The layers of the contract, from the top; the modules at the root are one."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contract = tomllib.load(file)["tool"]["importlinter"]["contracts"][0]
    return [set(re.split(r"\s*[|:]\s*", layer)) for layer in contract["layers"]]


def rooms_of_the_document() -> list[set[str]]:
    """The rows of the table of rooms, from the top."""
    page = (DOCS / "design/rooms.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    return [set(re.findall(r"`(\w+)`", row)) for row in rows]


def rooms_of_the_folders() -> set[str]:
    packages = {each.parent.name for each in PACKAGE.glob("*/__init__.py")}
    modules = {each.stem for each in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    return packages | modules


def test_the_contract_names_every_room_and_no_other() -> None:
    named = set[str]().union(*rooms_of_the_contract())
    assert named == rooms_of_the_folders()


def test_the_document_tells_the_rooms_in_the_order_of_the_contract() -> None:
    assert rooms_of_the_document() == rooms_of_the_contract()


def test_there_is_no_circle_of_modules_not_even_for_types() -> None:
    graph = grimp.build_graph("jackfield", cache_dir=None)
    imported = {each: graph.find_modules_directly_imported_by(each) for each in graph.modules}
    # Whatever imports nothing that is left can be part of no circle.
    left = dict(imported)
    while leaves := {each for each, below in left.items() if not below & left.keys()}:
        for each in leaves:
            del left[each]
    assert sorted(left) == []


def test_few_modules_stand_at_the_root() -> None:
    modules = sorted(each.name for each in PACKAGE.glob("*.py"))
    assert len(modules) <= MAX_ROOT_MODULES, modules


def sources() -> Iterator[Path]:
    for folder in ("server", "handlers", "benchmarks"):
        yield from (ROOT / folder).rglob("*.py")


@pytest.mark.parametrize(
    ("paths", "limit"),
    [(list(sources()), MAX_LINES), (list((ROOT / "tests").rglob("*.py")), MAX_TEST_LINES)],
    ids=["sources", "tests"],
)
def test_no_file_is_longer_than_one_purpose(paths: list[Path], limit: int) -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in paths}
    assert {str(path): lines for path, lines in lengths.items() if lines > limit} == {}


def test_no_two_public_classes_share_a_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_every_folder_of_unit_tests_is_that_of_a_package() -> None:
    folders = {
        str(each.parent.relative_to(ROOT / "tests/unit"))
        for each in (ROOT / "tests/unit").rglob("test_*.py")
    }
    elsewhere = {".", "benchmarks", "docs"}  # the structure itself, and what is no package
    assert {each for each in folders - elsewhere if not (PACKAGE / each).is_dir()} == set()
