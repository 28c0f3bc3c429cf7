"""The commands that the README gives to run one test find some."""

import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = re.findall(r"^ {4}\.venv/bin/pytest (.+)$", README, re.MULTILINE)


def test_the_readme_says_how_to_run_one_test() -> None:
    assert len(COMMANDS) == 2


@pytest.mark.parametrize("arguments", COMMANDS)
def test_what_the_readme_names_is_there(arguments: str) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments.split()]
    # pytest exits with 5 if it has found none.
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
