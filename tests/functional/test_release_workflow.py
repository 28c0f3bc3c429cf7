"""The workflow for releases is what its documentation says, and pins all that it uses."""

import re

from tests.support.paths import ROOT

WORKFLOW = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
PAGE = (ROOT / "docs" / "operations" / "releasing.md").read_text("utf-8")


def test_every_action_is_pinned_to_the_commit_that_is_documented() -> None:
    used = re.findall(r"uses: (\S+)@([0-9a-f]{40}) # (v[0-9.]+)$", WORKFLOW, re.MULTILINE)
    assert len(used) == WORKFLOW.count("uses:")
    rows = re.findall(r"^\| `(\S+)` \| (v[0-9.]+) \| `([0-9a-f]{40})` \|$", PAGE, re.MULTILINE)
    assert {(action, release, commit) for action, commit, release in used} == set(rows)


def test_nothing_is_installed_but_by_its_hash() -> None:
    installs = re.findall(r"pip install (.*)$", WORKFLOW, re.MULTILINE)
    assert installs
    assert all(options.startswith("--require-hashes ") for options in installs)


def test_no_job_may_do_more_than_it_says() -> None:
    assert re.search(r"^permissions: \{\}$", WORKFLOW, re.MULTILINE)
    assert "secrets." not in WORKFLOW
    assert WORKFLOW.count("id-token: write") == 1
