"""`jackfield check` finds every problem at once."""

from pathlib import Path

import pytest

from tests.support.commands import Install, lines, run
from tests.support.distributions import plugin

#: What of `tests.support.distributions.PLUGIN` to replace, so that it wants a configuration.
CONFIGURED = {'Plugin("{name}")': 'Plugin("{name}", config=Payload)'}


def test_a_fine_configuration_gets_one_line(installed: Install) -> None:
    installed("drum")
    Path("fine.toml").write_text("[server]\nport = 9000\n[plugins]\nenabled = ['drum']\n")
    result = run("check", "--config", "fine.toml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "fine.toml is fine: 1 plugin with 1 message type.\n"


def test_a_check_finds_all_the_problems_at_once(installed: Install) -> None:
    installed("broken", "import no_such_module")
    installed("horn", plugin("horn", CONFIGURED))
    Path("bad.toml").write_text(
        "[server]\nport = 99999\n[redis]\nulr = 'embedded'\n"
        "[plugins]\ndisabled = ['hron', 'request']\n"
        "[plugins.drums]\nsize = 1\n"
        "[plugins.horn]\nsize = 'large'\ncolour = 'red'\n"
    )
    result = run("check", "--config", "bad.toml")
    assert result.exit_code == 1
    found = lines(result.stdout)
    assert found[:2] == [
        "bad.toml:2: server.port: Must be from 0 to 65535; got 99999",
        "bad.toml:4: redis.ulr: Unknown key; did you mean 'url'?",
    ]
    assert "bad.toml:7: no plugin 'drums' is installed" in found[2]
    assert "no plugin 'hron' is installed; did you mean 'horn'?" in found[3]
    assert found[4] == (
        "plugin 'broken' of test-broken 1.0: it can't be imported: "
        "ModuleNotFoundError: No module named 'no_such_module'"
    )
    assert found[5:] == [
        'bad.toml:10: plugins.horn.size: Not a valid integer; got "large"',
        "bad.toml:11: plugins.horn.colour: Unknown key; there are: size",
    ]
    assert result.stderr == "7 problems.\n"


def test_a_plugin_that_would_be_left_out_is_a_problem(installed: Install) -> None:
    installed("broken", "raise ValueError('first line\\nsecond line')")
    result = run("check")
    assert result.exit_code == 1
    assert result.stdout == (
        "plugin 'broken' of test-broken 1.0: it can't be imported: "
        "ValueError: first line second line\n"
    )


def test_a_plugin_that_is_not_wanted_is_not_checked(installed: Install) -> None:
    installed("broken", "import no_such_module")
    Path("jackfield.toml").write_text("[plugins]\ndisabled = ['broken']\n")
    assert run("check", "--config", "jackfield.toml").exit_code == 0


def test_what_an_unset_key_lacks_names_its_plugin(installed: Install) -> None:
    installed("horn", plugin("horn", CONFIGURED))
    assert "plugins.horn.size: Missing data for required field" in run("check").stdout


def test_a_variable_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKFIELD__SERVER__PORT", "many")
    result = run("check")
    assert lines(result.stdout) == [
        'JACKFIELD__SERVER__PORT: server.port: Not a valid integer; got "many"'
    ]
