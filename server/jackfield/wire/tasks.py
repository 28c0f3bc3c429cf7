"""What is told of tasks in JSON, as templates: events of their topics, and messages to agents.

The scripts that move tasks fill the holes, which are those of `string.Template`. ``$brief`` is a
task object's beginning without its brace; ``$task`` and ``$state`` are words that need no escape,
and what stands for a whole value is JSON.
"""

from string import Template
from typing import Final

import msgspec

from .errors import Error
from .protocol import EVENT


def _error(code: str, message: str | None = None) -> str:
    """An error object with a hole for the task that it is about."""
    return msgspec.json.encode(Error(code, message, task="$task").as_dict()).decode()


TEMPLATES: Final = {
    # An event of a task's topic, and the payloads that there are.
    "task_event": EVENT.replace("$topic", '"task:$task"'),
    "task_brief": '$brief,"created_at":$created_at,"deadline":$deadline',
    "task_created": (
        '{"kind":"task","state":"submitted","task":'
        '{$brief,"state":"submitted","attempt":0,"seq":0,"input":$input}}'
    ),
    "task_chunks": '{"kind":"chunks","seq":$seq,"chunks":[$chunks]}',
    "task_state": '{"kind":"state","state":"$state","attempt":$attempt}',
    # With what it asks for, its output or why it has none: "prompt", "output" or "error".
    "task_state_with": '{"kind":"state","state":"$state","attempt":$attempt,"$field":$value}',
    "task_prompt": '$prompt,"expires_at":$expires_at}',
    # Messages to the agent's instance that has the task.
    "agent_assigned": (
        '{"type":"agent.assigned","payload":{$brief,"attempt":$attempt,"seq":$seq,"input":$input}}'
    ),
    "agent_answered": (
        '{"type":"agent.answered","payload":'
        '{"task":"$task","attempt":$attempt,"answer":$number,"input":$input}}'
    ),
    "agent_canceled": (
        '{"type":"agent.canceled","payload":{"task":"$task","attempt":$attempt,"error":$error}}'
    ),
    # Why a task has ended without its agent's doing.
    "agent_gone": _error("agent_gone"),
    "task_timed_out": _error("timeout", "The task did not end in time."),
    "answer_timed_out": _error("timeout", "Nobody has answered in time."),
}


def agent_canceled(task: str, attempt: int, error: Error) -> bytes:
    """The message by which a node tells an instance that a task is no longer its own."""
    return (
        Template(TEMPLATES["agent_canceled"])
        .substitute(task=task, attempt=attempt, error=msgspec.json.encode(error.as_dict()).decode())
        .encode()
    )


def agent_unregistered(name: str, error: Error) -> bytes:
    """The message by which a node tells an instance that it gets no more tasks, and why."""
    payload = {"name": name, "error": error.as_dict()}
    return msgspec.json.encode({"type": "agent.unregistered", "payload": payload})
