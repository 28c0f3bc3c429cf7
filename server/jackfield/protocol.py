"""The wire format, as pure functions: decode an envelope; encode replies, errors, events.

A message is decoded once, by msgspec, straight into an `Envelope`. Only what msgspec refuses is
looked at a second time, to say in the protocol's words what is wrong with it.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec

from . import frames
from .errors import Error, field_fault, with_faults
from .malformed import UNDECODABLE, Cause, cause_in_json, cause_in_message_pack, is_utf8

VERSION: Final = 1
#: Integers above this are not exact in a JavaScript client.
MAX_ID: Final = 2**53 - 1
MAX_ID_LENGTH: Final = 64
MAX_TYPE_LENGTH: Final = 128

MessageId = int | str

_TOO_DEEP: Final = "The message is nested too deeply."
_REASONS: Final = {
    Cause.NOT_UTF8: "The message has text that is not UTF-8.",
    Cause.TOO_DEEP: _TOO_DEEP,
    Cause.OUT_OF_RANGE: "The message has a number that is out of range.",
}

_TypeName = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TYPE_LENGTH)]
_IntegerId = Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)]
_StringId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]


class Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What every message of a client is wrapped in."""

    type: _TypeName
    id: _IntegerId | _StringId | msgspec.UnsetType = msgspec.UNSET
    payload: dict[str, Any] = msgspec.field(default_factory=dict)


class _Reply(msgspec.Struct, tag_field="type", tag="reply", gc=False):
    id: MessageId
    payload: Any


class _Chunk(msgspec.Struct, tag_field="type", tag="chunk", gc=False):
    id: MessageId
    seq: int
    payload: Any


class _Stated(msgspec.Struct, tag_field="type", tag="chunk", gc=False):
    id: MessageId
    seq: int
    state: str
    payload: Any


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


class Codec:
    """One encoding of the protocol: how bytes become envelopes and answers become frames.

    Args:
        name: The WebSocket subprotocol.
        opcode: The kind of frame it speaks, `frames.TEXT` or `frames.BINARY`.
        format: The msgspec module that reads and writes it.
    """

    def __init__(self, name: str, opcode: int, format: Any) -> None:  # noqa: A002
        self.name = name
        self.opcode = opcode
        self._decode_envelope: Callable[[bytes], Envelope] = format.Decoder(Envelope).decode
        self._decode_any: Callable[[bytes], Any] = format.Decoder().decode
        self._encode: Callable[[Any], bytes] = format.Encoder().encode

    def decode(self, data: bytes) -> Envelope:
        """The envelope in a message.

        Raises:
            MalformedError: It is not an envelope; the error says why.
            NotUtf8Error: It is text, and not UTF-8.
        """
        try:
            return self._decode_envelope(data)
        except UNDECODABLE:
            pass
        raise self._explain(data)

    def check_nesting(self, data: bytes, envelope: Envelope, limit: int) -> None:
        """Refuse a message whose payload is nested too deeply.

        Args:
            data: The message.
            envelope: What it was decoded to.
            limit: Objects and lists that may lie within each other, the payload among them.

        Raises:
            MalformedError: There are more.
        """
        if self.opcode == frames.TEXT and data.count(b"[") + data.count(b"{") <= limit:
            return
        if _is_nested_deeper(envelope.payload, limit):
            message_id = None if envelope.id is msgspec.UNSET else envelope.id
            raise MalformedError(Error("invalid_json", _TOO_DEEP), message_id)

    def _explain(self, data: bytes) -> MalformedError:
        """Say what is wrong with a message that is not an envelope."""
        is_text = self.opcode == frames.TEXT
        if is_text and not is_utf8(data):
            raise NotUtf8Error
        try:
            value = self._decode_any(data)
        except UNDECODABLE:
            cause = cause_in_json(data) if is_text else cause_in_message_pack(data)
        else:
            return MalformedError(*_check_envelope(value))
        if cause is Cause.INVALID:
            reason = f"The message is not valid {'JSON' if is_text else 'MessagePack'}."
        else:
            reason = _REASONS[cause]
        return MalformedError(Error("invalid_json", reason))

    def reply(self, message_id: MessageId, payload: Any) -> bytes:
        """The message that answers a request. Raises whatever the payload can't be encoded for."""
        return self._encode(_Reply(message_id, payload))

    def chunk(
        self, message_id: MessageId, seq: int, payload: Any, state: str | None = None
    ) -> bytes:
        """The message that carries one part of a streamed answer, or tells what state it is in."""
        if state is not None:
            return self._encode(_Stated(message_id, seq, state, payload))
        return self._encode(_Chunk(message_id, seq, payload))

    def error(self, message_id: MessageId | None, error: Error) -> bytes:
        """The message that refuses a request."""
        return self._encode({"type": "error", "id": message_id, "error": error.as_dict()})

    def welcome(
        self,
        *,
        connection: str,
        user: str | None,
        heartbeat: float,
        limits: dict[str, int],
        topics: dict[str, Any],
    ) -> bytes:
        """The first message of every connection.

        Args:
            connection: The connection's id.
            user: Who it belongs to; None if anonymous.
            heartbeat: Seconds between the server's pings.
            limits: What the client must keep to, by the names of the configuration.
            topics: Epoch and offset of each topic that it is in by itself.
        """
        payload = {
            "connection": connection,
            "user": user,
            "protocol": VERSION,
            "heartbeat": int(heartbeat) if heartbeat == int(heartbeat) else heartbeat,
            "limits": limits,
            "topics": topics,
        }
        return self._encode({"type": "welcome", "payload": payload})

    def from_json(self, message: bytes) -> bytes:
        """A whole message in JSON, in this encoding: events and presence travel in JSON."""
        return message if self.opcode == frames.TEXT else self._encode(_decode_json(message))

    def embed(self, message: bytes) -> Any:
        """A whole message in JSON, as a value to encode within another message."""
        return msgspec.Raw(message) if self.opcode == frames.TEXT else _decode_json(message)

    def goodbye(self, code: int, reason: str, *, reconnect: bool, after: float) -> bytes:
        """The last message before the server closes with a code of the protocol.

        Args:
            code: The close code that follows.
            reason: Its words.
            reconnect: Whether the client should connect again.
            after: Seconds to wait before it does.
        """
        payload: dict[str, Any] = {"code": code, "reason": reason, "reconnect": reconnect}
        if reconnect:
            payload["after"] = round(after, 1)
        return self._encode({"type": "goodbye", "payload": payload})


_decode_json: Final = msgspec.json.Decoder().decode

JSON: Final = Codec("jackfield.v1", frames.TEXT, msgspec.json)
MSGPACK: Final = Codec("jackfield.v1.msgpack", frames.BINARY, msgspec.msgpack)
#: By subprotocol, in the server's order of preference.
CODECS: Final = {codec.name: codec for codec in (JSON, MSGPACK)}


def event_head(topic: str) -> bytes:
    """The beginning of an event in JSON; its offset and `event_tail` follow."""
    return b'{"type":"event","topic":%b,"offset":' % msgspec.json.encode(topic)


def event_tail(payload: Any) -> bytes:
    """The end of an event in JSON. Raises whatever the payload can't be encoded for."""
    return b',"payload":%b}' % msgspec.json.encode(payload)


def presence_head(topic: str) -> bytes:
    """The beginning of a message about presence in JSON; what changed and a brace follow."""
    return b'{"type":"presence","topic":%b,' % msgspec.json.encode(topic)


def presence_snapshot(head: bytes, presence: dict[str, Any]) -> bytes:
    """A message that replaces all that was said about a topic's presence, in JSON.

    Args:
        head: Made by `presence_head`.
        presence: Who is there, as in the reply of ``topic.presence``.
    """
    return head + msgspec.json.encode(presence)[1:]


def _check_envelope(value: Any) -> tuple[Error, MessageId | None]:
    """Name every fault of a decoded message that is not an envelope."""
    if not isinstance(value, dict):
        return with_faults("invalid_message", [field_fault("", "type", "Not an object.")]), None
    faults = [
        field_fault("/" + key.replace("~", "~0").replace("/", "~1"), "unknown", "Unknown key.")
        for key in value
        if isinstance(key, str) and key not in {"type", "id", "payload"}
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
    if "id" in value and not _is_id(message_id):
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


def _is_nested_deeper(payload: dict[str, Any], limit: int) -> bool:
    """Whether more objects and lists than this lie within each other, the payload among them."""
    level: list[Any] = [payload]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True


def _has_string_keys(value: dict[Any, Any]) -> bool:
    return all(isinstance(key, str) for key in value)


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return 1 <= len(value) <= MAX_ID_LENGTH
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID
