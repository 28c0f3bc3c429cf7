"""What the commands share: the configuration that they read."""

from pathlib import Path

import pytest

from jackfield.cli.options import describe, epilog
from jackfield.config import Problem
from jackfield.config.sources import OVERRIDE
from tests.support.commands import run


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "x.toml: The file cannot be read: No such file or directory\n"),
        ("[server", "x.toml:1: Not valid TOML: "),
        ("[plugins]\nenabled = 1\n", "x.toml:2: plugins.enabled: Not a valid list"),
    ],
)
@pytest.mark.parametrize("command", ["check", "plugins", "serve"])
def test_no_command_goes_on_with_a_wrong_configuration(
    command: str, content: str | None, problem: str
) -> None:
    if content is not None:
        Path("x.toml").write_text(content)
    result = run(command, "--config", "x.toml")
    assert result.exit_code == 1
    assert problem in (result.stdout if command == "check" else result.stderr)


def test_help_ends_with_examples_and_exit_codes() -> None:
    assert epilog(["jackfield x"], {0: "succeeded", 130: "stopped"}).splitlines() == [
        "\b",
        "Examples:",
        "  jackfield x",
        "",
        "\b",
        "Exit codes:",
        "  0    succeeded",
        "  130  stopped",
    ]


def test_a_problem_of_the_command_line_is_described_as_one() -> None:
    assert describe(Problem(OVERRIDE, "No.")) == "command line: No."
    assert describe(Problem("x.toml:2", "No.")) == "x.toml:2: No."
