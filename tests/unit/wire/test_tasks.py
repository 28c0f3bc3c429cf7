"""What is told of tasks is JSON once its holes are filled, and says what the errors say."""

import json
from string import Template
from typing import Any

import pytest

from jackfield.wire.errors import ERROR_CODES, Error
from jackfield.wire.tasks import TEMPLATES, agent_canceled

#: What holes are filled with: words for those within quotes, JSON for the others.
HOLES = {
    "task": "echo.1",
    "state": "working",
    "field": "output",
    "brief": '"task":"echo.1"',
    "prompt": '{"message":""',
    **dict.fromkeys(("attempt", "seq", "offset", "number", "created_at", "deadline"), "3"),
    **dict.fromkeys(("input", "payload", "value", "error", "chunks", "expires_at"), '{"a":1}'),
}


def decoded(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(Template(TEMPLATES[name]).substitute(HOLES))
    return value


@pytest.mark.parametrize("name", set(TEMPLATES) - {"task_brief"})
def test_a_template_is_an_object_once_it_is_filled(name: str) -> None:
    assert decoded(name)


def test_a_brief_is_part_of_an_object() -> None:
    brief = Template(TEMPLATES["task_brief"]).substitute(HOLES)
    assert json.loads(f"{{{brief}}}") == {"task": "echo.1", "created_at": 3, "deadline": 3}


def test_an_event_of_a_task_is_an_event_of_its_topic() -> None:
    assert decoded("task_event") == {
        "type": "event",
        "topic": "task:echo.1",
        "offset": 3,
        "payload": {"a": 1},
    }


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("agent_gone", "agent_gone"),
        ("task_timed_out", "timeout"),
        ("answer_timed_out", "timeout"),
    ],
)
def test_an_error_keeps_what_its_code_promises(name: str, code: str) -> None:
    error = decoded(name)
    assert (error["code"], error["task"]) == (code, "echo.1")
    assert error["retryable"] is ERROR_CODES[code].retryable
    assert error["message"]


def test_a_node_tells_of_a_lost_task_as_a_script_does() -> None:
    error = Error("agent_gone", 'It is "gone".', task="echo.1")
    assert json.loads(agent_canceled("echo.1", 2, error)) == {
        "type": "agent.canceled",
        "payload": {"task": "echo.1", "attempt": 2, "error": error.as_dict()},
    }
