"""What is public changes on purpose alone: tests/public_api.txt is held to the code."""

import difflib
import re

from tests.support.paths import DOCS
from tests.support.public_api import LISTING, listing


def test_the_listing_of_all_that_is_public_is_true() -> None:
    committed, actual = LISTING.read_text("utf-8").splitlines(), listing().splitlines()
    difference = "\n".join(
        difflib.unified_diff(committed, actual, "tests/public_api.txt", "the code", lineterm="")
    )
    assert not difference, (
        "what is public has changed; if that is meant, write its listing anew with\n"
        f"    python -m tests.support.public_api\n{difference}"
    )


def test_the_listing_has_every_documented_name() -> None:
    reference = (DOCS / "reference" / "api.md").read_text("utf-8")
    names = re.findall(r"^::: (jackfield(?:\.client|\.testing)?)\.(\w+)$", reference, re.MULTILINE)
    assert names
    sections = dict(re.findall(r"^# (\S+)\n(.*?)(?=^# )", listing(), re.MULTILINE | re.DOTALL))
    for module, name in names:
        assert re.search(rf"^(?:class |(?:async )?def )?{name}\b", sections[module], re.MULTILINE)
