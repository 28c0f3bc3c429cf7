"""Tasks as they stand in messages: their states, their events, and the records of channels."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from jackfield.wire.agent_limits import TASK_ID

#: The names of A2A (https://a2a-protocol.org, TaskState), in lower case.
ENDED: Final = frozenset({"completed", "failed", "canceled", "rejected"})

_TASK_ID: Final = re.compile(TASK_ID)


def is_task_id(text: str) -> bool:
    """Whether a text can be a task's id."""
    return _TASK_ID.fullmatch(text) is not None


class Progress(msgspec.Struct):
    """The payload of an event of a task's topic."""

    kind: str
    state: str = ""
    attempt: int = 0
    seq: int = 0
    chunks: list[msgspec.Raw] = []
    task: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()


class _Event(msgspec.Struct):
    payload: Progress


_decode_event = msgspec.json.Decoder(_Event).decode


def read_event(message: bytes) -> Progress:
    """What an event of a task's topic says; the message is one of ours."""
    return _decode_event(message).payload


class Told(NamedTuple):
    """A record of the channel on which a node learns what becomes of tasks.

    Attributes:
        words: For an event ``e``, the task, the epoch and the offset; for an order ``o``, the
            instance, the task, the attempt, a verb, and of an answer its number.
        body: The event, or the message for the instance; whole messages in JSON.
    """

    words: list[str]
    body: bytes


def read_records(data: bytes) -> Iterator[Told]:
    """What was published on such a channel: each record a line of words and a size, then a body."""
    start = 0
    while start < len(data):
        end = data.index(b"\n", start)
        *words, size = str(data[start:end], "ascii").split(" ")
        start = end + 1 + int(size)
        yield Told(words, data[end + 1 : start])


def task_object(fields: Mapping[str, bytes]) -> dict[str, Any]:
    """A task as clients see it.

    Args:
        fields: What Redis has of it.
    """
    task: dict[str, Any] = msgspec.json.decode(b"{%b}" % fields["brief"])
    task["state"] = str(fields["state"], "ascii")
    task["attempt"] = int(fields["attempt"])
    task["seq"] = int(fields["seq"])
    for name in ("input", "output", "error", "prompt"):
        if name in fields:
            task[name] = msgspec.Raw(fields[name])
    return task
