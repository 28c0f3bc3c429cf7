"""The envelope of every message of a client: what it is, and what is wrong with one that isn't."""

from itertools import islice
from typing import Annotated, Any, Final

import msgspec

from .errors import MAX_FIELDS, Error, field_fault, with_faults
from .pointer import pointer_to

#: Integers above this are not exact in a JavaScript client.
MAX_ID: Final = 2**53 - 1
MAX_ID_LENGTH: Final = 64
MAX_TYPE_LENGTH: Final = 128
_KEYS: Final = frozenset({"type", "id", "payload"})

MessageId = int | str

_TypeName = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TYPE_LENGTH)]
_IntegerId = Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)]
_StringId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]


class Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What every message of a client is wrapped in."""

    type: _TypeName
    id: _IntegerId | _StringId | msgspec.UnsetType = msgspec.UNSET
    payload: dict[str, Any] = msgspec.field(default_factory=dict)


class MalformedError(Exception):
    """A message whose envelope can't be read; the connection lives on.

    Args:
        error: What the client is told.
        id: The message's id, where that much could be read.
    """

    def __init__(self, error: Error, message_id: MessageId | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.id = message_id


class NotUtf8Error(Exception):
    """A text message that is not UTF-8: RFC 6455, section 8.1, ends the connection for it."""


def explain_envelope(value: Any) -> tuple[Error, MessageId | None]:
    """Name every fault of a decoded message that is not an envelope.

    Returns:
        The error for the client, and the message's id where that much can be read.
    """
    if not isinstance(value, dict):
        return with_faults("invalid_message", [field_fault("", "type", "Not an object.")]), None
    unknown = (key for key in value if isinstance(key, str) and key not in _KEYS)
    faults = [
        field_fault(pointer_to(key), "unknown", "Unknown key.")
        for key in islice(unknown, MAX_FIELDS + 1)  # one more than is told
    ]
    if not _has_string_keys(value):
        faults.append(field_fault("", "invalid", "Has keys that are not strings."))
    if "type" not in value:
        faults.append(field_fault("/type", "required", "Missing message type."))
    elif not isinstance(value["type"], str):
        faults.append(field_fault("/type", "invalid", "Not a string."))
    elif not 1 <= len(value["type"]) <= MAX_TYPE_LENGTH:
        faults.append(field_fault("/type", "length", f"Must be 1 to {MAX_TYPE_LENGTH} characters."))
    message_id = value.get("id")
    if "id" in value and not is_id(message_id):
        faults.append(
            field_fault(
                "/id",
                "invalid",
                f"Must be an integer from 0 to {MAX_ID} or a string of 1 to {MAX_ID_LENGTH} "
                "characters.",
            )
        )
        message_id = None
    if not isinstance(value.get("payload", {}), dict):
        faults.append(field_fault("/payload", "type", "Not an object."))
    elif not _has_string_keys(value.get("payload", {})):
        faults.append(field_fault("/payload", "invalid", "Has keys that are not strings."))
    if not faults:  # what is left of it would do
        faults.append(field_fault("", "invalid", "Has a key more than once."))
    return with_faults("invalid_message", faults), message_id


def _has_string_keys(value: dict[Any, Any]) -> bool:
    return all(isinstance(key, str) for key in value)


def is_id(value: object) -> bool:
    """Return whether a value can be a message's id."""
    if isinstance(value, str):
        return 1 <= len(value) <= MAX_ID_LENGTH
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID
