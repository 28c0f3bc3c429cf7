"""How events become bytes for sockets: what was published is framed once, for all who get it."""

from collections.abc import Sequence
from typing import NamedTuple

from jackfield.wire import frames
from jackfield.wire.protocol import Codec


class Batch:
    """Consecutive messages of one topic; their frames are made once, for all who get them.

    Args:
        first: The number of the first.
        messages: Whole messages in JSON.
    """

    __slots__ = ("_frames", "first", "messages")

    def __init__(self, first: int, messages: Sequence[bytes]) -> None:
        self.first = first
        self.messages = messages
        self._frames: dict[Codec, bytes] = {}

    @property
    def last(self) -> int:
        """The number of the last message."""
        return self.first + len(self.messages) - 1

    def frames(self, codec: Codec) -> bytes:
        """All messages as frames, one behind the other."""
        made = self._frames.get(codec)
        if made is None:
            opcode, encode, frame = codec.opcode, codec.from_json, frames.frame
            made = b"".join([frame(opcode, encode(message)) for message in self.messages])
            self._frames[codec] = made
        return made

    def after(self, number: int) -> "Batch":
        """Those of the messages that come after a number."""
        if number < self.first:
            return self
        return Batch(number + 1, self.messages[number + 1 - self.first :])


class Published(NamedTuple):
    """What came over a channel: the kind of messages, their epoch, and the messages."""

    kind: bytes
    epoch: str
    batch: Batch


def parse(data: bytes) -> Published:
    """What a script published: a line of kind, epoch, first number and sizes; then the messages."""
    end = data.index(b"\n")
    kind, epoch, first, sizes = data[:end].split(b" ")
    start = end + 1
    messages = []
    for size in map(int, sizes.split(b",")):
        messages.append(data[start : start + size])
        start += size
    return Published(kind, str(epoch, "ascii"), Batch(int(first), messages))
