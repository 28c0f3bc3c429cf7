"""The message that every server is sent, and its schema: the same work for all of them."""

from typing import Any, Final

from marshmallow import Schema, fields, validate

#: The type of a request.
TYPE: Final = "benchmark.send"
#: The types by which one becomes a member of a room, and publishes to it, and that of its events.
#: Jackfield's members subscribe to a topic instead.
JOIN: Final = "benchmark.join"
PUBLISH: Final = "benchmark.publish"
EVENT: Final = "event"
TOPIC: Final = "benchmark:{room}"
#: The type of a request for the bytes that the server has allocated; only Jackfield is asked.
MEMORY: Final = "benchmark.memory"

#: A chat message of ordinary size: about 120 bytes of JSON.
PAYLOAD: Final[dict[str, Any]] = {
    "room": "lobby",
    "text": "hello there, this is a chat message of ordinary length",
    "reply_to": None,
    "tags": ["a", "b"],
}
#: The longest name of a room, and the longest text.
ROOM_LENGTH: Final = 64
TEXT_LENGTH: Final = 4096


class Message(Schema):
    """The payload."""

    room = fields.String(required=True, validate=validate.Length(1, ROOM_LENGTH))
    text = fields.String(required=True, validate=validate.Length(1, TEXT_LENGTH))
    reply_to = fields.Integer(allow_none=True, load_default=None)
    tags = fields.List(fields.String(), load_default=list)


def message_to(room: str) -> dict[str, Any]:
    """The payload of a publication."""
    return {**PAYLOAD, "room": room}
