"""Tasks as they stand in messages: their states, their events, and the records of channels."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from jackfield.wire.agent_limits import TASK_ID
from jackfield.wire.errors import Error

#: The states that nothing follows, by the names of A2A (https://a2a-protocol.org, TaskState) in
#: lower case.
ENDED: Final = frozenset({"completed", "failed", "canceled", "rejected"})

_TASK_ID: Final = re.compile(TASK_ID)


def is_task_id(text: str) -> bool:
    """Tell whether a text can be a task's id."""
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
    """Read the payload of an event of a task's topic; the message is one of ours."""
    return _decode_event(message).payload


def output_of(event: Progress, task: str) -> msgspec.Raw:
    """Return the output of a task.

    Args:
        event: The last event of its topic.
        task: Its id.

    Raises:
        Error: It has not completed: why.
    """
    if event.state == "completed":
        return event.output
    error: dict[str, Any] = msgspec.json.decode(bytes(event.error))
    error.setdefault("task", task)
    raise Error(
        error.pop("code"), error.pop("message"), retryable=error.pop("retryable", False), **error
    )


class ChannelRecord(NamedTuple):
    """A record of the channel on which a node learns what becomes of an agent's tasks.

    Attributes:
        words: For an event ``e``, the task, the epoch and the offset; for an order ``o``, the
            instance, the task, the attempt, a verb, and of an answer its number.
        body: The event, or the message for the instance; whole messages in JSON.
    """

    words: list[str]
    body: bytes


def read_records(data: bytes) -> Iterator[ChannelRecord]:
    """Take apart what was published on such a channel.

    Args:
        data: Records end to end, each a line of words and a size, then a body of that size.
    """
    start = 0
    while start < len(data):
        end = data.index(b"\n", start)
        *words, size = str(data[start:end], "ascii").split(" ")
        start = end + 1 + int(size)
        yield ChannelRecord(words, data[end + 1 : start])


def task_object(fields: Mapping[str, bytes]) -> dict[str, Any]:
    """Return a task as clients see it.

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
