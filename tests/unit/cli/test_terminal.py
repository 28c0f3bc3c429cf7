"""What is printed can't steer a terminal, and is JSON where a program reads it."""

import json

import pytest

from jackfield.cli import terminal
from jackfield.cli.terminal import Failure, NotConnectedError, count, one_line, print_json


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("two\nlines", "two lines"),
        ("\x1b[2Jgone", "\ufffd[2Jgone"),
        ("bell\x07 tab\t nul\x00 c1\x9b", "bell\ufffd tab\ufffd nul\ufffd c1\ufffd"),
        ("ü\u4e2d", "ü\u4e2d"),
    ],
)
def test_text_of_any_origin_becomes_one_safe_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_a_noun_has_the_right_number() -> None:
    assert [count([0] * n, "plugin") for n in range(3)] == ["0 plugins", "1 plugin", "2 plugins"]


def test_json_is_one_line_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"text": "ü" * 300, "list": [1, {"a": None}]}
    print_json(value, may_wrap=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == value
    assert "ü" in line


@pytest.mark.parametrize(("may_wrap", "lines"), [(False, 1), (True, 3)])
def test_json_on_a_narrow_terminal_has_several_lines_if_it_may(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lines: int,
    *,
    may_wrap: bool,
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(terminal.out, "width", 20)
    print_json({"text": "x" * 30}, may_wrap=may_wrap)
    assert len(capsys.readouterr().out.splitlines()) == lines


def test_a_failure_is_printed_line_by_line_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Failure("It failed.", "  one\x1b", "  two").show()
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "It failed.\n  one\ufffd\n  two\n")


def test_a_script_can_tell_a_failure_from_a_server_that_is_away() -> None:
    assert (Failure("x").exit_code, NotConnectedError("x").exit_code) == (1, 3)
