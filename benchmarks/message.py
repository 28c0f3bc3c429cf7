"""The message that every server is sent, and its schema: the same work for all of them."""

from typing import Any, Final

from marshmallow import Schema, fields, validate

TYPE: Final = "benchmark.send"
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
