"""The wire format, as pure functions: decode a client's messages, encode the server's.

A message is decoded once, by msgspec, straight into an `Envelope`. Only what msgspec refuses is
looked at a second time, to say in the protocol's words what is wrong with it.
"""

from collections.abc import Callable
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
from .errors import Error
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
        limits: dict[str, int],
        topics: dict[str, Any],
    ) -> bytes:
        """Return the first message of every connection.

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
        """Return a whole message in JSON in this encoding: events and presence travel in JSON."""
        return message if self.opcode == frames.TEXT else self._encode(_decode_json(message))

    def embed(self, message: bytes) -> Any:
        """Return a whole message in JSON as a value to encode within another message."""
        return msgspec.Raw(message) if self.opcode == frames.TEXT else _decode_json(message)

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
            payload["after"] = round(after, 1)
        return self._encode({"type": "goodbye", "payload": payload})


_decode_json: Final = msgspec.json.Decoder().decode

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
