"""The layout of keys has a version, and whoever changes a key has to look at it."""

import hashlib
import re

import pytest

from jackfield.store import keys, layout
from jackfield.store.layout import LAYOUT, Layout

#: What the keys of each version are, told by `digest`. When this test fails the keys have changed:
#: raise `LAYOUT` (if this version was released), say in its table what is new and whether older
#: servers can work beside it, and enter the new digest here.
DIGESTS = {2: "3d4520ea76bb661d", 3: "163dcbea0afd7454"}


def digest() -> str:
    """A digest of the names of all keys, and of what the table says that they hold."""
    rows = re.findall(r"^\| ``.*$", keys.__doc__ or "", re.MULTILINE)
    templates = [f"{name} {text}" for name, text in sorted(keys.TEMPLATES.items())]
    return hashlib.sha256("\n".join([*rows, *templates]).encode()).hexdigest()[:16]


def test_who_changes_a_key_raises_the_version() -> None:
    assert DIGESTS[LAYOUT.version] == digest()


def test_the_table_tells_every_version() -> None:
    rows = re.findall(r"^\| (\d+) \| .+ \| (\d+) \|$", layout.__doc__ or "", re.MULTILINE)
    versions = [(int(version), int(oldest)) for version, oldest in rows]
    assert [version for version, _ in versions] == list(range(1, LAYOUT.version + 1))
    assert versions[-1] == LAYOUT


@pytest.mark.parametrize(
    ("one", "other", "fit"),
    [
        (Layout(2, 1), Layout(1, 1), True),
        (Layout(2, 1), Layout(2, 1), True),
        (Layout(3, 3), Layout(2, 1), False),
        (Layout(3, 2), Layout(2, 2), True),
        (Layout(5, 4), Layout(3, 1), False),
    ],
)
def test_two_versions_fit_if_the_newer_knows_the_older(
    one: Layout, other: Layout, *, fit: bool
) -> None:
    assert one.fits(other) == other.fits(one) == fit
