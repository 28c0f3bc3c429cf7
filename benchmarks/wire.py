"""What goes over the wire, as pure functions: frames (RFC 6455), and how a server is spoken to.

The requests of a connection are a ring: a few frames of one size, built once and sent over and
over. So are their replies. Any run of them is a slice, and to check replies is to compare bytes.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from .message import EVENT, JOIN, TOPIC

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_FIN: Final = 0x80
_MASKED: Final = 0x80
#: Lengths up to this stand in the header's second byte; 126 and 127 announce 2 and 8 bytes more.
_MAX_SHORT: Final = 125
_MAX_16_BIT: Final = 0xFFFF
_LENGTH_BYTES: Final = {126: 2, 127: 8}


class WireError(Exception):
    """A server sent what it should not have."""


def server_frame(opcode: int, payload: bytes) -> bytes:
    """A frame as a server sends it."""
    return bytes((_FIN | opcode,)) + _length(len(payload), 0) + payload


def client_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """A frame as a client sends it.

    Args:
        opcode: One of this module's opcodes.
        payload: The payload, in clear.
        mask: Four bytes; any but zeros, or the server has less to do than it will have.
    """
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes((_FIN | opcode,)) + _length(len(payload), _MASKED) + mask + masked


def _length(length: int, flag: int) -> bytes:
    if length <= _MAX_SHORT:
        return bytes((flag | length,))
    if length <= _MAX_16_BIT:
        return bytes((flag | 126,)) + length.to_bytes(2)
    return bytes((flag | 127,)) + length.to_bytes(8)


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Take a server's frames apart.

    Returns:
        The opcode and payload of each whole frame; and what is left, the beginning of another.

    Raises:
        WireError: A frame is fragmented or masked, which no frame of these servers is.
    """
    frames = []
    start = 0
    while len(data) >= start + 2:
        first, length = data[start], data[start + 1]
        if not first & _FIN or length & _MASKED:
            raise WireError(f"a frame that is fragmented or masked: {data[start : start + 2]!r}")
        begin = start + 2
        if length > _MAX_SHORT:
            more = _LENGTH_BYTES[length]
            if len(data) < begin + more:
                break
            length = int.from_bytes(data[begin : begin + more])
            begin += more
        if len(data) < begin + length:
            break
        start = begin + length
        frames.append((first & 0xF, data[begin:start]))
    return frames, data[start:]


class Ring:
    """Frames of one size that follow each other over and over.

    Args:
        frames: One round of them.

    Raises:
        ValueError: They are not of one size.
    """

    def __init__(self, frames: Sequence[bytes]) -> None:
        sizes = set(map(len, frames))
        if len(sizes) != 1:
            raise ValueError(f"the frames of a ring are of one size, not of {sorted(sizes)}")
        (self.size,) = sizes
        self._length = len(frames)
        self._twice = b"".join(frames) * 2  # so that a run over the end is a slice as well
        self._next = 0

    def take(self, count: int) -> bytes:
        """The next frames, of which one round is the most."""
        start = self._next * self.size
        self._next = (self._next + count) % self._length
        return self._twice[start : start + count * self.size]

    def match(self, data: bytes) -> int:
        """How many frames the data is, if it is the next ones, whole and byte for byte; else 0."""
        start = self._next * self.size
        count, rest = divmod(len(data), self.size)
        if rest or data != self._twice[start : start + len(data)]:
            return 0
        self._next = (self._next + count) % self._length
        return count


class Marks:
    """How events are counted in a stream that is not taken apart.

    All messages are ASCII, so that a byte past it stands in a header. One byte tells of a text
    message then and another of a heartbeat, wherever the stream is cut.

    Args:
        heartbeat: The heartbeat's frame.
    """

    def __init__(self, heartbeat: bytes) -> None:
        opcode, length = heartbeat[:2]
        self._text_heartbeat = opcode == _FIN | TEXT
        # That of one character is told by its length: no text has such a byte, no event the length.
        self._heartbeat = length if self._text_heartbeat else opcode

    def check(self, event: bytes) -> None:
        """Make sure that an event's frame counts as one event.

        Raises:
            WireError: It has a length, say, that looks like a mark.
        """
        if self.heartbeats(event) or event.count(_FIN | TEXT) != 1:
            raise WireError(f"events can't be counted, make them longer or shorter: {event!r}")

    def heartbeats(self, data: bytes | bytearray, size: int | None = None) -> int:
        """How many heartbeats begin in the first bytes of the data, by default in all of it."""
        return data.count(self._heartbeat, 0, size)

    def events(self, data: bytes | bytearray, size: int | None = None, heartbeats: int = 0) -> int:
        """How many events begin there, besides so many heartbeats."""
        texts = data.count(_FIN | TEXT, 0, size)
        return texts - heartbeats if self._text_heartbeat else texts


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a server is spoken to.

    Attributes:
        path: Of its WebSocket.
        request: The message with an id, a type and a payload; one without an id has no answer.
        reply: The id and payload of an answer; raises ValueError if it is none.
        join: The type and payload of the request that makes one a member of a room.
        event: The payload of what a member gets; raises ValueError if it is no event.
        opening: What the server's first messages start with, and what is answered to each.
        heartbeat: The opcode and payload of what the server may send at any time.
        heartbeat_answer: What is answered.
    """

    path: str
    request: Callable[[int | None, str, Any], bytes]
    reply: Callable[[bytes], tuple[int, Any]]
    join: Callable[[str], tuple[str, Any]]
    event: Callable[[bytes], Any]
    opening: tuple[tuple[bytes, bytes | None], ...] = ()
    heartbeat: tuple[int, bytes] = (PING, b"")
    heartbeat_answer: tuple[int, bytes] = (PONG, b"")

    def answer(self, opcode: int, payload: bytes) -> tuple[int, bytes] | None:
        """The opcode and payload of what is answered to a heartbeat; None if it is none."""
        if (opcode, payload) == self.heartbeat:
            return self.heartbeat_answer
        return (PONG, payload) if opcode == PING else None


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _request(message_id: int | None, message_type: str, payload: Any) -> bytes:
    identity = {} if message_id is None else {"id": message_id}
    return _json({"type": message_type, **identity, "payload": payload})


def _reply(message: bytes) -> tuple[int, Any]:
    match json.loads(message):
        case {"type": "reply", "id": int(message_id), "payload": payload}:
            return message_id, payload
    raise ValueError("not a reply")


def _event(message: bytes) -> Any:
    match json.loads(message):
        case {"type": "event", "payload": payload}:
            return payload
    raise ValueError("not an event")


def _join(room: str) -> tuple[str, Any]:
    return JOIN, {"room": room}


def _subscribe(room: str) -> tuple[str, Any]:
    return "topic.subscribe", {"topic": TOPIC.format(room=room)}


#: A Socket.IO event and an acknowledgement, in an Engine.IO message.
_EMIT: Final = b"42"
_ACKNOWLEDGEMENT: Final = b"43"


def _emit(message_id: int | None, message_type: str, payload: Any) -> bytes:
    identity = b"" if message_id is None else str(message_id).encode()
    return _EMIT + identity + _json([message_type, payload])


def _acknowledgement(message: bytes) -> tuple[int, Any]:
    head, bracket, rest = message.partition(b"[")
    if not head.startswith(_ACKNOWLEDGEMENT):
        raise ValueError("not an acknowledgement")
    (payload,) = json.loads(bracket + rest)
    return int(head.removeprefix(_ACKNOWLEDGEMENT)), payload


def _emitted(message: bytes) -> Any:
    if message.startswith(_EMIT + b"["):
        match json.loads(message.removeprefix(_EMIT)):
            case [name, payload] if name == EVENT:
                return payload
    raise ValueError("not an event")


#: An envelope with type, id and payload, and nothing else.
ENVELOPE: Final = Dialect("/ws", _request, _reply, _join, _event)
#: The same, after a welcome; a member is who subscribes to a topic.
JACKFIELD: Final = replace(ENVELOPE, join=_subscribe, opening=((b'{"type":"welcome"', None),))
#: Socket.IO 5 in Engine.IO 4: open and connect, then events; a ping is a message of its own.
SOCKETIO: Final = Dialect(
    "/socket.io/?EIO=4&transport=websocket",
    _emit,
    _acknowledgement,
    _join,
    _emitted,
    opening=((b"0{", b"40"), (b"40{", None)),
    heartbeat=(TEXT, b"2"),
    heartbeat_answer=(TEXT, b"3"),
)

DIALECTS: Final = {"envelope": ENVELOPE, "jackfield": JACKFIELD, "socketio": SOCKETIO}
