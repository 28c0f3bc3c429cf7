"""The command has help and a version, and knows wrong usage."""

from importlib.metadata import version

import pytest

from tests.support.commands import run


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["check"], ["plugins"], ["types"], ["call"], ["agents"]]
)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help_with_an_example_and_its_exit_codes(
    command: list[str], option: str
) -> None:
    result = run(*command, option)
    assert result.exit_code == 0
    assert "Examples:\n    jackfield " in result.stdout
    assert "Exit codes:\n    0    " in result.stdout


def test_the_version_is_that_of_the_distribution() -> None:
    assert run("--version").stdout == f"jackfield {version('jackfield')}\n"


@pytest.mark.parametrize(
    "arguments",
    [["sing"], ["serve", "--loud"], ["serve", "--port", "many"], ["call"], ["check", "a", "b"]],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr
