"""What a log line holds, and what it must not."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from jackfield import log
from jackfield.config import load_settings


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
