"""`Feed`: numbered messages on their way to the members of a topic here, in order and once.

What Redis publishes may come late, twice or not at all. A feed sends it on in order and once, and
buffers what comes behind a gap until its owner has filled that. Whoever joins says up to where it
knows the messages, and gets the rest, whether the feed is ahead of that or behind.
"""

from collections.abc import Iterator
from typing import Final

from jackfield.connection.connection import Connection
from jackfield.connection.outbox import send_to_all
from jackfield.wire.position import Position
from jackfield.wire.protocol import Codec

from .encoding import Batch

#: Batches that are buffered behind a gap. More are read from the stream, which has them anyway.
_MAX_BUFFERED: Final = 1000
#: With so many members the first batch of a turn is written to each at once: to queue it for each
#: costs as much again. What follows in the turn is queued, and written joined.
_MANY: Final = 32


class Members:
    """The connections that are in a topic, by their encoding."""

    __slots__ = ("_by_codec",)

    def __init__(self) -> None:
        self._by_codec: dict[Codec, dict[Connection, None]] = {}

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._by_codec.get(connection.codec, ())

    def __len__(self) -> int:
        return sum(map(len, self._by_codec.values()))

    def __iter__(self) -> Iterator[Connection]:
        for connections in self._by_codec.values():
            yield from connections

    def add(self, connection: Connection) -> None:
        """Add a connection; no effect if it is there."""
        self._by_codec.setdefault(connection.codec, {})[connection] = None

    def discard(self, connection: Connection) -> None:
        """Remove a connection; no effect if it is not there."""
        self._by_codec.get(connection.codec, {}).pop(connection, None)

    def groups(self) -> Iterator[tuple[Codec, dict[Connection, None]]]:
        """Iterate over the encodings, each with its connections."""
        return iter(self._by_codec.items())


def _send_to_group(connections: dict[Connection, None], data: bytes) -> None:
    if len(connections) >= _MANY and next(iter(connections)).outbox.turn.take_first():
        send_to_all([connection.outbox for connection in connections], data)
    else:
        for connection in connections:
            connection.outbox.send(data)


class Feed:
    """The events of a topic, or the changes of its presence, as sent to its members here.

    Args:
        members: The topic's members.
    """

    __slots__ = (
        "_buffer",
        "_floors",
        "_has_overflowed",
        "_joining",
        "_members",
        "_recent",
        "epoch",
        "offset",
    )

    def __init__(self, members: Members) -> None:
        self._members = members
        #: Which epoch the numbers are of.
        self.epoch = ""
        #: The number of the last message that the members were sent, or need not be sent.
        self.offset = 0
        # What came behind a gap; None while there is none. It begins with one, as it isn't known
        # yet where the topic stands.
        self._buffer: list[tuple[str, Batch]] | None = []
        self._has_overflowed = False
        # Members that know more already than the feed has sent: up to which number.
        self._floors: dict[Connection, int] = {}
        # What was sent since the oldest join under way began: it may be behind its position.
        self._recent: list[Batch] = []
        self._joining = 0

    @property
    def position(self) -> Position:
        """Up to where the members were sent."""
        return Position(self.epoch, self.offset)

    @property
    def is_paused(self) -> bool:
        """Whether what comes is buffered."""
        return self._buffer is not None

    @property
    def buffered(self) -> int:
        """How many batches are buffered."""
        return 0 if self._buffer is None else len(self._buffer)

    def receive(self, epoch: str, batch: Batch) -> bool:
        """Send on what came over the channel, or buffer it.

        Returns:
            Whether it has found a gap, before this batch, and paused.
        """
        if self._buffer is not None:
            if len(self._buffer) >= _MAX_BUFFERED:
                self._buffer.clear()
                self._has_overflowed = True
            self._buffer.append((epoch, batch))
            return False
        if epoch != self.epoch or batch.first > self.offset + 1:
            self._buffer = [(epoch, batch)]
            return True
        if batch.last > self.offset:
            self.send(batch.after(self.offset))
        return False

    def pause(self) -> None:
        """Buffer what comes from now on: something before it may have been missed."""
        if self._buffer is None:
            self._buffer = []

    def resume(self, stale: int) -> bool:
        """Send on what is buffered: the gap before it is filled.

        Args:
            stale: How many batches were buffered before the history was read. Those of another
                epoch than the present one are of an earlier one, and are dropped.

        Returns:
            Whether there is a gap again, and all behind it is still buffered.
        """
        buffer, self._buffer = self._buffer or [], None
        if self._has_overflowed:
            self._has_overflowed = False
            self._buffer = []
            return True
        for index, (epoch, batch) in enumerate(buffer):
            if (epoch == self.epoch or index >= stale) and self.receive(epoch, batch):
                self._buffer = buffer[index:]
                return True
        return False

    def skip_to(self, epoch: str, offset: int) -> None:
        """Go on from another position, without having sent what is between."""
        if epoch != self.epoch:
            self._floors.clear()
        self._recent.clear()
        self.epoch = epoch
        self.offset = offset

    def floor(self, connection: Connection) -> int:
        """Return up to where a member knows more than the feed has sent; 0 if it doesn't."""
        return self._floors.get(connection, 0)

    def send(self, batch: Batch) -> None:
        """Send the next messages to all members that don't know them."""
        self.offset = batch.last
        if self._joining:
            self._recent.append(batch)
        floors = self._floors
        for codec, connections in self._members.groups():
            if floors:
                self._send_above_floors(batch, codec, connections)
                continue
            _send_to_group(connections, batch.frames(codec))
        if floors:
            self._floors = {each: floor for each, floor in floors.items() if floor > self.offset}

    def _send_above_floors(
        self, batch: Batch, codec: Codec, connections: dict[Connection, None]
    ) -> None:
        for connection in connections:
            floor = self._floors.get(connection, 0)
            if floor < batch.last:
                connection.outbox.send(batch.after(floor).frames(codec))

    def begin_join(self) -> None:
        """Keep what is sent from now on, for somebody who is about to join."""
        self._joining += 1

    def end_join(self) -> None:
        """End a join that began, whatever has come of it."""
        self._joining -= 1
        if not self._joining:
            self._recent.clear()

    def has_since(self, offset: int) -> bool:
        """Tell whether a member that joins can be sent all that came after a number."""
        oldest = self._recent[0].first if self._recent else self.offset + 1
        return offset + 1 >= oldest

    def admit(self, connection: Connection, offset: int) -> None:
        """Begin to send to a member that was added between `begin_join` and `end_join`.

        One that joins again begins anew, too: what it was sent before its reply doesn't count.

        Args:
            connection: The member.
            offset: The number of the last message it knows, of the feed's epoch.
        """
        self._floors.pop(connection, None)
        if offset > self.offset:
            self._floors[connection] = offset
            return
        for batch in self._recent:
            if batch.last > offset:
                connection.outbox.send(batch.after(offset).frames(connection.codec))

    def forget(self, connection: Connection) -> None:
        """Forget a member that has left."""
        self._floors.pop(connection, None)
