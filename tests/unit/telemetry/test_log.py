"""What a log line holds, and what it must not."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from aiohttp.http_exceptions import BadStatusLine
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from jackfield.config import load_settings
from jackfield.telemetry import log


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def fail(payload: dict[str, str]) -> None:
    raise RuntimeError("a fault")


@pytest.mark.parametrize("kind", ["json", "console"])
def test_a_trace_shows_no_local_variables(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(load_settings(None, {}, {"logging": {"format": kind}}).logging)
    try:
        fail({"secret": "hunter" + str(2)})
    except RuntimeError as exc:
        structlog.get_logger().error("failed", exc_info=exc)
    written = capsys.readouterr().err
    assert "RuntimeError" in written
    assert "a fault" in written
    assert "hunter2" not in written


def test_json_lines_are_one_object_each(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(load_settings(None, {}, {"logging": {"format": "json"}}).logging)
    structlog.get_logger().info("two\nlines", key="a\nb")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "two\nlines"


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(load_settings(None, {}, {"logging": {"level": "warning"}}).logging)
    structlog.get_logger().info("quiet")
    assert capsys.readouterr().err == ""


def configured(kind: str) -> None:
    log.configure(load_settings(None, {}, {"logging": {"format": kind}}).logging)


#: Ends of lines, colours, the bell, an erased line, text from right to left, half a surrogate.
HOSTILE = (
    "a\r\n2026-01-01 [error    ] forged\x1b[31m\x07\x1b]0;title\x07\x9b2J\u2028\u202e\ud800\x7f\x00"
)


def is_harmless(text: str) -> bool:
    return all(each.isprintable() or each == "\n" for each in text)


@pytest.mark.parametrize("kind", ["console", "json"])
@pytest.mark.parametrize("library", [False, True], ids=["ours", "a library's"])
def test_no_value_passes_for_a_line_or_speaks_to_the_terminal(
    kind: str,
    library: bool,  # noqa: FBT001
    capsys: pytest.CaptureFixture[str],
) -> None:
    configured(kind)
    if library:
        logging.getLogger("library").warning("said %s", HOSTILE)
    else:
        structlog.get_logger().warning(
            f"said {HOSTILE}",
            text=HOSTILE,
            inside=[{"deep": HOSTILE}],
            raw=HOSTILE.encode("utf-8", "replace"),
        )
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert written.isascii()
    assert is_harmless(written.replace("\x7f", ""))
    assert "forged" in written


@pytest.mark.parametrize("kind", ["console", "json"])
def test_what_an_exception_says_passes_for_no_line_either(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configured(kind)
    error = RuntimeError(HOSTILE)
    structlog.get_logger().error("failed", exc_info=error)
    logging.getLogger("library").error("failed", exc_info=error)
    first, *rest = capsys.readouterr().err.splitlines()
    assert "failed" in first
    if kind == "json":
        assert [json.loads(line)["event"] for line in rest] == ["failed"]
    else:
        assert [line for line in rest if not line.startswith("    ")] == [
            line for line in rest if "[error    ] failed" in line and "forged" not in line
        ]
    assert all(is_harmless(line.replace("\x7f", "")) for line in (first, *rest))


@given(st.text())
def test_every_text_is_made_printable_and_printable_text_is_left_alone(text: str) -> None:
    shown = log.printable(text)
    assert shown.isprintable()
    if text.isprintable():
        assert shown == text


def test_a_stack_is_indented(capsys: pytest.CaptureFixture[str]) -> None:
    configured("console")
    structlog.get_logger().warning("blocked", stack="one\ntwo\x1b")
    assert capsys.readouterr().err.splitlines()[1:] == ["    one", "    two\\x1b"]


def test_a_request_that_is_not_http_leaves_no_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configured("json")
    logger = logging.getLogger("aiohttp.server")
    for error in (BadStatusLine("GET /ws?ticket=secret"), RuntimeError("a fault")):
        logger.error("Error handling request", exc_info=error)
    written = capsys.readouterr().err
    assert "a fault" in written
    assert "secret" not in written
    assert len(written.splitlines()) == 1


def test_what_strangers_cause_is_logged_sparingly(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    sparing: Any = log.RateLimitedLog(structlog.get_logger(), rate=1, burst=2)
    with capture_logs() as logs:
        for number in range(10):
            sparing.info("turned away", number=number)
        clock[0] = 1.0
        sparing.warning("turned away", number=10)
    assert [(line["number"], line.get("left_out")) for line in logs] == [
        (0, None),
        (1, None),
        (10, 8),
    ]
