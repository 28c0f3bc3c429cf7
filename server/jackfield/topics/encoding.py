"""Turn what is published on a topic's channel into WebSocket frames, once for all who get them."""

from collections.abc import Sequence
from typing import NamedTuple

from jackfield.wire import frames
from jackfield.wire.protocol import Codec


class Batch:
    """Consecutive messages of one topic, and their frames, which all members share.

    Args:
        first: The number of the first message.
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
        """Return the frames of all messages, one behind the other.

        They are made once for each encoding; members of the same encoding share one object.
        """
        made = self._frames.get(codec)
        if made is None:
            opcode, encode, frame = codec.opcode, codec.from_json, frames.frame
            made = b"".join([frame(opcode, encode(message)) for message in self.messages])
            self._frames[codec] = made
        return made

    def after(self, number: int) -> "Batch":
        """Return the messages that come after a number; there must be one at least."""
        if number < self.first:
            return self
        return Batch(number + 1, self.messages[number + 1 - self.first :])


class Published(NamedTuple):
    """What a script published on a topic's channel.

    Attributes:
        kind: ``e`` for events, ``p`` for changes of presence.
        epoch: The epoch of the events; ``-`` for presence, which has none.
        batch: The messages for clients.
    """

    kind: bytes
    epoch: str
    batch: Batch


def parse(data: bytes) -> Published:
    """Take apart what a script published, by the templates of `jackfield.store.channels`.

    Args:
        data: A line of kind, epoch, first number and sizes, then the messages end to end.
    """
    end = data.index(b"\n")
    kind, epoch, first, sizes = data[:end].split(b" ")
    start = end + 1
    messages = []
    for size in map(int, sizes.split(b",")):
        messages.append(data[start : start + size])
        start += size
    return Published(kind, str(epoch, "ascii"), Batch(int(first), messages))
