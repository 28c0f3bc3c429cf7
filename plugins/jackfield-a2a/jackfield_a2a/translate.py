"""Translate between the messages of A2A and those of Jackfield, by pure functions."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from a2a.types import Message, Part, Role, TaskStatus
from a2a.utils.errors import ContentTypeNotSupportedError, InvalidParamsError, TaskNotFoundError
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct, Value

#: The key of an input and of a chunk for A2A's text.
TEXT: Final = "text"
JSON: Final = "application/json"
#: Between Jackfield's id of a task and the context that its caller has chosen: what is in no id.
_SEPARATOR: Final = "~"
#: Contexts: UUIDs and the like, as they become a part of ids, and so of addresses.
_CONTEXT: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")
#: Up to here a number that A2A has made a double of is the integer that it was.
_MAX_INTEGER: Final = 2**53
#: Levels of protobuf that data may have; with those around it there are less than the 100 that
#: protobuf reads.
MAX_DEPTH: Final = 80


class Reference(NamedTuple):
    """A task as both sides know it.

    The gateway keeps nothing, so the context that a caller has chosen is a part of the task's id.

    Attributes:
        task: Jackfield's id.
        context: A2A's context; the same as the id where the caller has chosen none.
    """

    task: str
    context: str

    @property
    def id(self) -> str:
        """A2A's id."""
        return self.task if self.context == self.task else f"{self.task}{_SEPARATOR}{self.context}"

    @classmethod
    def read(cls, id_: str, agent: str) -> "Reference":
        """Read A2A's id of a task.

        Raises:
            TaskNotFoundError: It is none of this agent's tasks.
        """
        task, separator, context = id_.partition(_SEPARATOR)
        if not task.startswith(f"{agent}.") or (separator and not _CONTEXT.fullmatch(context)):
            raise TaskNotFoundError
        return cls(task, context or task)


def check_context(context: str) -> None:
    """Check the name of a context.

    Raises:
        InvalidParamsError: It is not allowed.
    """
    if not _CONTEXT.fullmatch(context):
        raise InvalidParamsError("A contextId has 1 to 128 of A-Z, a-z, 0-9, '.', '_', '~', '-'.")


def read_parts(parts: Iterable[Part]) -> dict[str, Any]:
    """Make an input of the parts of a message: objects together, and all text as ``text``.

    Raises:
        ContentTypeNotSupportedError: There is a file, or data that is no object.
        InvalidParamsError: Several parts have the same key.
    """
    found: dict[str, Any] = {}
    texts: list[str] = []
    for index, part in enumerate(parts):
        match part.WhichOneof("content"):
            case "text":
                texts.append(part.text)
                continue
            case "data":
                value = _with_integers(MessageToDict(part.data))
            case _:
                raise ContentTypeNotSupportedError(f"Part {index} is neither text nor data.")
        if not isinstance(value, dict):
            raise ContentTypeNotSupportedError(f"The data of part {index} is no object.")
        _add(found, value)
    if texts:
        _add(found, {TEXT: "\n".join(texts)})
    return found


def make_part(payload: Mapping[str, Any]) -> Part:
    """Make a part of a chunk, an input or an output: text if it has nothing else, or data.

    What is nested too deeply for A2A's data is text as well, in JSON.
    """
    match payload:
        case {"text": str(text)} if len(payload) == 1:
            return Part(text=text)
    if _levels(payload) > MAX_DEPTH:
        return Part(text=json.dumps(payload), media_type=JSON)
    return Part(data=ParseDict(dict(payload), Value()), media_type=JSON)


def _levels(value: Any) -> int:
    """How many levels of protobuf data has: as it is read, an object is three and a list two."""
    if isinstance(value, Mapping):
        return 3 + max(map(_levels, value.values()), default=0)
    if isinstance(value, list | tuple):
        return 2 + max(map(_levels, value), default=0)
    return 0


def join_parts(parts: Iterable[Part]) -> list[Part]:
    """Join texts that follow on each other."""
    joined: list[Part] = []
    texts: list[str] = []
    for part in parts:
        if part.WhichOneof("content") == "text":
            texts.append(part.text)
            continue
        if texts:
            joined.append(Part(text="".join(texts)))
            texts.clear()
        joined.append(part)
    if texts:
        joined.append(Part(text="".join(texts)))
    return joined


def make_status(
    reference: Reference, state: str, payload: Mapping[str, Any], at: int
) -> TaskStatus:
    """Make a status: the state, and a message of what the task asks for or has come to.

    Args:
        reference: The task.
        state: Jackfield's state.
        payload: The payload of the event that tells it, or the task.
        at: The event's number, which tells messages apart.
    """
    status = TaskStatus(state=f"TASK_STATE_{state.upper()}")
    words = payload.get("prompt") or payload.get("error")
    if words is not None:
        more = {key: value for key, value in words.items() if key not in ("message", "task")}
        status.message.CopyFrom(
            Message(
                message_id=f"{reference.task}-{at}",
                task_id=reference.id,
                context_id=reference.context,
                role=Role.ROLE_AGENT,
                parts=[Part(text=words.get("message", ""))],
                metadata=ParseDict(more, Struct(), max_recursion_depth=MAX_DEPTH),
            )
        )
    return status


def _add(found: dict[str, Any], more: Mapping[str, Any]) -> None:
    twice = found.keys() & more.keys()
    if twice:
        raise InvalidParamsError(f"Several parts of the message have {min(twice)!r}.")
    found.update(more)


def _with_integers(value: Any) -> Any:
    """Make integers again of the doubles that A2A makes of all numbers."""
    match value:
        case float() if value.is_integer() and abs(value) <= _MAX_INTEGER:
            return int(value)
        case dict():
            return {key: _with_integers(each) for key, each in value.items()}
        case list():
            return [_with_integers(each) for each in value]
    return value
