"""The messages of `jackfield.v1` as the Python client reads and writes them: JSON objects."""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from jackfield.wire.errors import field_fault
from jackfield.wire.pointer import pointer_to

from .errors import NotSent

#: A message as it stands on the wire, or the payload of one.
Message = dict[str, Any]

decode = msgspec.json.Decoder(Message).decode
encode = msgspec.json.Encoder().encode

#: What `encode` raises for what JSON has no room for; UnicodeEncodeError is a ValueError.
_UNENCODABLE: Final = (TypeError, ValueError, OverflowError, RecursionError)
#: Objects and lists within each other that are looked into for what is wrong.
_DEPTH: Final = 200


class _Fault(NamedTuple):
    path: tuple[object, ...]
    code: str
    words: str


def write(message_type: str, payload: Mapping[str, Any] | None, id_: int | None = None) -> bytes:
    """Return a message as JSON.

    Args:
        message_type: Its type.
        payload: Its payload; None for an empty one.
        id_: Its id; None if it wants no reply.

    Raises:
        NotSent: It has something that JSON has no room for, or would lose.
    """
    message: Message = {"type": message_type, "payload": payload or {}}
    if id_ is not None:
        message["id"] = id_
    try:
        data = encode(message)
    except _UNENCODABLE as error:
        raise _refusal(message_type, payload, str(error)) from None
    # A number that is none is written as null: look for one only where there is a null.
    if b"null" in data and _first_fault(payload, ()) is not None:
        raise _refusal(message_type, payload, "")
    return data


def encode_value(value: Mapping[str, Any]) -> msgspec.Raw:
    """Return a chunk or an output as JSON, to be put into a message.

    Raises:
        NotSent: It has something that JSON has no room for, or would lose.
    """
    try:
        data = encode(value)
    except _UNENCODABLE as error:
        raise _refusal("this task", value, str(error)) from None
    if b"null" in data and _first_fault(value, ()) is not None:
        raise _refusal("this task", value, "")
    return msgspec.Raw(data)


def _refusal(message_type: object, payload: object, otherwise: str) -> NotSent:
    if not isinstance(message_type, str) or _first_fault(message_type, ()) is not None:
        fault = field_fault("/type", "invalid", "A message type is a text.")
        message = "The message is not a valid envelope."
        return NotSent({"code": "invalid_message", "message": message, "fields": [fault]})
    path, code, words = _first_fault(payload, ()) or ((), "invalid", otherwise)
    message = f"The payload of {message_type} can't be sent as JSON."
    fault = field_fault(pointer_to(*path), code, words)
    return NotSent({"code": "invalid_payload", "message": message, "fields": [fault]})


def _first_fault(value: object, path: tuple[object, ...]) -> _Fault | None:
    """Return the first value that can't be sent, within a value that is or has one."""
    if len(path) > _DEPTH:
        return _Fault(path, "invalid", "It is nested too deeply, or contains itself.")
    if isinstance(value, Mapping):
        named = [*((key, path) for key in value), *((value[key], (*path, key)) for key in value)]
    elif isinstance(value, list | tuple | set | frozenset):
        named = [(item, (*path, number)) for number, item in enumerate(value)]
    else:
        return _fault_itself(value, path)
    return next((fault for item, at in named if (fault := _first_fault(item, at))), None)


def _fault_itself(value: object, path: tuple[object, ...]) -> _Fault | None:
    """Return why a value that contains no other can't be sent."""
    match value:
        case str() if not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
            return _Fault(path, "invalid", "It has half of a character (a lone surrogate).")
        case float() if not math.isfinite(value):
            return _Fault(path, "special", "It is NaN or infinite.")
    try:
        encode(value)  # an integer may have too many digits
        plain = msgspec.to_builtins(value)
    except _UNENCODABLE as error:
        return _Fault(path, "invalid", f"{error}.")
    # A record, such as a dataclass, is written as an object.
    return _first_fault(plain, path) if isinstance(plain, dict | list) else None
