"""The wire format, as pure functions: decode a client's messages, encode the server's.

A message is decoded once, by msgspec, straight into an `Envelope`. Only what msgspec refuses is
looked at a second time, to say in the protocol's words what is wrong with it.
"""

import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from . import frames
from .envelope import (
    MAX_TYPE_LENGTH,
    Envelope,
    MalformedError,
    MessageId,
    NotUtf8Error,
    explain_envelope,
)
from .errors import Error, field_fault, with_faults
from .malformed import UNDECODABLE, Cause, cause_in_json, cause_in_message_pack, is_utf8

__all__ = [
    "CODECS",
    "JSON",
    "MAX_TYPE_LENGTH",
    "MSGPACK",
    "VERSION",
    "Codec",
    "Envelope",
    "MalformedError",
    "MessageId",
    "NotUtf8Error",
    "event_head",
    "event_tail",
    "presence_head",
    "presence_snapshot",
]

VERSION: Final = 1
#: What this server can do beyond the first of version 1, by the message types.
FEATURES: Final = ("request.pause",)

_TOO_DEEP: Final = "The message is nested too deeply."
_REASONS: Final = {
    Cause.NOT_UTF8: "The message has text that is not UTF-8.",
    Cause.TOO_DEEP: _TOO_DEEP,
    Cause.OUT_OF_RANGE: "The message has a number that is out of range.",
}


class _ReplyMessage(msgspec.Struct, tag_field="type", tag="reply", gc=False):
    id: MessageId
    payload: Any


class _ChunkMessage(msgspec.Struct, tag_field="type", tag="chunk", gc=False):
    id: MessageId
    seq: int
    payload: Any


class _StateMessage(msgspec.Struct, tag_field="type", tag="chunk", gc=False):
    id: MessageId
    seq: int
    state: str
    payload: Any


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
        """Return the envelope in a message.

        Raises:
            MalformedError: It is not an envelope; the error says why.
            NotUtf8Error: It is text, and not UTF-8.
        """
        try:
            return self._decode_envelope(data)
        except UNDECODABLE:
            pass
        raise self._explain(data)

    def check_payload(self, data: bytes, envelope: Envelope, *, nesting: int, values: int) -> None:
        """Refuse a message whose payload is nested too deeply, or has too many values.

        Args:
            data: The message.
            envelope: What it was decoded to.
            nesting: Objects and lists that may lie within each other, the payload among them.
            values: Values that may be in it, at any depth.

        Raises:
            MalformedError: There are more.
        """
        if self.opcode == frames.TEXT:
            opened = data.count(b"[") + data.count(b"{")
            # Each value but the first of an object or a list has a comma before it.
            if opened <= nesting and opened + data.count(b",") <= values:
                return
        error = _excess(envelope.payload, nesting, values)
        if error is not None:
            message_id = None if envelope.id is msgspec.UNSET else envelope.id
            raise MalformedError(error, message_id)

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
            return MalformedError(*explain_envelope(value))
        if cause is Cause.INVALID:
            reason = f"The message is not valid {'JSON' if is_text else 'MessagePack'}."
        else:
            reason = _REASONS[cause]
        return MalformedError(Error("invalid_json", reason))

    def reply(self, message_id: MessageId, payload: Any) -> bytes:
        """Return the answer to a request. Raises whatever the payload can't be encoded for."""
        return self._encode(_ReplyMessage(message_id, payload))

    def chunk(
        self, message_id: MessageId, seq: int, payload: Any, state: str | None = None
    ) -> bytes:
        """Return one part of a streamed answer, or news of the state it is in."""
        if state is not None:
            return self._encode(_StateMessage(message_id, seq, state, payload))
        return self._encode(_ChunkMessage(message_id, seq, payload))

    def error(self, message_id: MessageId | None, error: Error) -> bytes:
        """Return the message that refuses a request."""
        return self._encode({"type": "error", "id": message_id, "error": error.as_dict()})

    def welcome(
        self,
        *,
        connection: str,
        user: str | None,
        heartbeat: float,
        limits: dict[str, Any],
        topics: dict[str, Any],
        features: Sequence[str] = (),
    ) -> bytes:
        """Return the first message of every connection.

        Args:
            connection: The connection's id.
            user: Who it belongs to; None if anonymous.
            heartbeat: Seconds between the server's pings.
            limits: What the client must keep to, by the names of the configuration.
            topics: Epoch and offset of each topic that it is in by itself.
            features: What this server can do beyond the first of version 1.
        """
        payload: dict[str, Any] = {
            "connection": connection,
            "user": user,
            "protocol": VERSION,
            "heartbeat": int(heartbeat) if heartbeat == int(heartbeat) else heartbeat,
            "limits": limits,
        }
        if features:
            payload["features"] = features
        payload["topics"] = topics
        return self._encode({"type": "welcome", "payload": payload})

    def from_json(self, message: bytes) -> bytes:
        """Return a whole message in JSON in this encoding: events and presence travel in JSON."""
        return message if self.opcode == frames.TEXT else self._encode(_decode(message))

    def embed(self, message: bytes) -> Any:
        """Return a whole message in JSON as a value to encode within another message."""
        return msgspec.Raw(message) if self.opcode == frames.TEXT else _decode(message)

    def goodbye(self, code: int, reason: str, *, reconnect: bool, after: float) -> bytes:
        """Return the last message before the server closes with a code of the protocol.

        Args:
            code: The close code that follows.
            reason: Its words.
            reconnect: Whether the client should connect again.
            after: Seconds to wait before it does.
        """
        payload: dict[str, Any] = {"code": code, "reason": reason, "reconnect": reconnect}
        if reconnect:
            # Up: who comes back too early would be turned away again.
            payload["after"] = math.ceil(10 * after) / 10
        return self._encode({"type": "goodbye", "payload": payload})


_decode_json: Final = msgspec.json.Decoder().decode

#: What every integer of more than 63 bits has in JSON.
_LONG_NUMBER: Final = re.compile(rb"[0-9]{19}")


def _decode(message: bytes) -> Any:
    """Decode JSON to values that MessagePack can hold."""
    value = _decode_json(message)
    return value if _LONG_NUMBER.search(message) is None else _within_64_bits(value)


def _within_64_bits(value: Any) -> Any:
    """Return a value with each integer of more than 64 bits as the number that is next to it.

    JSON in Python has integers of any size, MessagePack has not, and most readers of JSON take them
    for what IEEE 754 calls a double as well (RFC 8259, section 6).
    """
    if type(value) is dict:
        return {key: _within_64_bits(inner) for key, inner in value.items()}
    if type(value) is list:
        return [_within_64_bits(inner) for inner in value]
    if type(value) is int and not -(2**63) <= value < 2**64:
        largest = sys.float_info.max
        return float(max(-int(largest), min(value, int(largest))))
    return value


#: An event in JSON, as a template: scripts count the offset, and make events of their own.
EVENT: Final = '{"type":"event","topic":$topic,"offset":$offset,"payload":$payload}'
_EVENT_HEAD, _EVENT_TAIL = EVENT.encode().split(b"$offset")
#: Messages that somebody has come to a topic or left it, as templates that scripts fill; ``$head``
#: is made by `presence_head`, and ``$member`` is what others see of them, as JSON.
PRESENCE_JOINED: Final = '$head"joined":$member}'
PRESENCE_LEFT: Final = '$head"left":$member}'

JSON: Final = Codec("jackfield.v1", frames.TEXT, msgspec.json)
MSGPACK: Final = Codec("jackfield.v1.msgpack", frames.BINARY, msgspec.msgpack)
#: By subprotocol, in the server's order of preference.
CODECS: Final = {codec.name: codec for codec in (JSON, MSGPACK)}


def event_head(topic: str) -> bytes:
    """Return the beginning of an event in JSON; its offset and `event_tail` follow."""
    return _EVENT_HEAD.replace(b"$topic", msgspec.json.encode(topic))


def event_tail(payload: Any) -> bytes:
    """Return the end of an event in JSON. Raises whatever the payload can't be encoded for."""
    return _EVENT_TAIL.replace(b"$payload", msgspec.json.encode(payload))


def presence_head(topic: str) -> bytes:
    """Return the beginning of a message about presence in JSON: what changed and a brace follow."""
    return b'{"type":"presence","topic":%b,' % msgspec.json.encode(topic)


def presence_snapshot(head: bytes, presence: dict[str, Any]) -> bytes:
    """Return a message in JSON that replaces all that was said about a topic's presence.

    Args:
        head: Made by `presence_head`.
        presence: Who is there, as in the reply of ``topic.presence``.
    """
    return head + msgspec.json.encode(presence)[1:]


def _excess(payload: dict[str, Any], nesting: int, values: int) -> Error | None:
    """Return what refuses a payload that has too much of something; None if it has not.

    Args:
        payload: The payload.
        nesting: Objects and lists that may lie within each other, the payload among them.
        values: Values that may be in it, at any depth.
    """
    level: list[Any] = [payload]
    left = values
    for _ in range(nesting):
        left -= sum(map(len, level))  # before any of them is looked at
        if left < 0:
            words = f"The payload has more than {values} values."
            return with_faults("invalid_payload", [field_fault("", "values", words)], words)
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return None
    return Error("invalid_json", _TOO_DEEP)
