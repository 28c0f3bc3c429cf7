"""An entry says which plugin it is, whether it runs, and why not."""

import pytest

from jackfield.dispatch.plugin_entry import PluginEntry, PluginFailures, PluginState, Stage
from tests.support.candidates import candidate, plugin


def entry(name: str = "chat", version: str = "1.0") -> PluginEntry:
    made = candidate(plugin(name))
    return PluginEntry(type(made)(made.name, made.distribution, version, made.load))


def test_it_runs_until_it_fails() -> None:
    made = entry()
    assert (made.is_running, made.stage, made.reason) == (True, None, "")
    made.fail(Stage.START, "it failed to start")
    assert (made.state, made.stage, made.is_running) == (PluginState.FAILED, Stage.START, False)
    assert str(made) == "plugin 'chat' of jackfield-third 1.0: it failed to start"


def test_one_that_is_disabled_does_not_run() -> None:
    made = entry()
    made.state = PluginState.DISABLED
    assert not made.is_running


@pytest.mark.parametrize(
    ("version", "source"), [("1.0", "jackfield-third 1.0"), ("", "jackfield-third")]
)
def test_its_source_has_the_version_if_there_is_one(version: str, source: str) -> None:
    assert entry(version=version).source == source


def test_failures_are_told_together() -> None:
    failed = [entry("chat"), entry("poll")]
    for each in failed:
        each.fail(Stage.IMPORT, "no numpy")
    error = PluginFailures(each for each in failed)
    assert error.entries == failed
    assert str(error) == "\n".join(map(str, failed))
