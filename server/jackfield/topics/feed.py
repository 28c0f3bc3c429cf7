"""A sequence of numbered messages on its way to the members of a topic at this node.

What Redis publishes may come late, twice or not at all. A feed hands it on in order and once, and
holds back what comes behind a gap until its owner has filled that. Who joins says up to where it
knows the sequence, and gets the rest, whether the feed is ahead of that or behind.
"""

from collections.abc import Iterator
from typing import Final

from jackfield.connection.connection import Connection
from jackfield.connection.outbox import send_to_all
from jackfield.wire.position import Position
from jackfield.wire.protocol import Codec

from .encoding import Batch

#: Messages that are held behind a gap. More come again from the stream, which has them anyway.
_MAX_HELD: Final = 1000

#: Members to whom the first event of a turn is written at once.
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
        """A connection has joined."""
        self._by_codec.setdefault(connection.codec, {})[connection] = None

    def discard(self, connection: Connection) -> None:
        """A connection has left."""
        self._by_codec.get(connection.codec, {}).pop(connection, None)

    def groups(self) -> Iterator[tuple[Codec, dict[Connection, None]]]:
        """The connections of each encoding."""
        return iter(self._by_codec.items())


def _send_to_all(connections: dict[Connection, None], data: bytes) -> None:
    if len(connections) >= _MANY and next(iter(connections)).outbox.turn.is_first():
        send_to_all([connection.outbox for connection in connections], data)
    else:
        for connection in connections:
            connection.outbox.send(data)


class Feed:
    """One sequence of a topic, as far as its members at this node have been sent it.

    Args:
        members: The topic's members.
    """

    __slots__ = (
        "_floors",
        "_held",
        "_joining",
        "_members",
        "_overrun",
        "_recent",
        "epoch",
        "position",
    )

    def __init__(self, members: Members) -> None:
        self._members = members
        #: Which sequence it is.
        self.epoch = ""
        #: The number of the last message that the members were sent, or need not be.
        self.position = 0
        # What waits behind a gap, and at the beginning, when it isn't known where that is.
        self._held: list[tuple[str, Batch]] | None = []
        self._overrun = False
        # Members that know more already than the feed has sent: up to which number.
        self._floors: dict[Connection, int] = {}
        # What was sent since the oldest join under way began: it may be behind its position.
        self._recent: list[Batch] = []
        self._joining = 0

    @property
    def stand(self) -> Position:
        """Up to where the members were sent."""
        return Position(self.epoch, self.position)

    @property
    def in_sync(self) -> bool:
        """Whether nothing is held back."""
        return self._held is None

    def receive(self, epoch: str, batch: Batch) -> bool:
        """Hand on what came over the channel.

        Returns:
            Whether there is a gap before it, and `hold` has begun.
        """
        if self._held is not None:
            if len(self._held) >= _MAX_HELD:
                self._held.clear()
                self._overrun = True
            self._held.append((epoch, batch))
            return False
        if epoch != self.epoch or batch.first > self.position + 1:
            self._held = [(epoch, batch)]
            return True
        if batch.last > self.position:
            self.send(batch.after(self.position))
        return False

    def hold(self) -> None:
        """Hold back what comes from now on: something before it may have been missed."""
        if self._held is None:
            self._held = []

    @property
    def held(self) -> int:
        """How much is held back."""
        return 0 if self._held is None else len(self._held)

    def release(self, stale: int) -> bool:
        """Hand on what was held back; the gap is filled.

        Args:
            stale: How much of it had come before the gap was looked at: of another epoch, it is of
                an earlier one.

        Returns:
            Whether there is a gap again, and all behind it is still held.
        """
        held, self._held = self._held or [], None
        if self._overrun:
            self._overrun = False
            self._held = []
            return True
        for number, (epoch, batch) in enumerate(held):
            if (epoch == self.epoch or number >= stale) and self.receive(epoch, batch):
                self._held = held[number:]
                return True
        return False

    def move(self, epoch: str, position: int) -> None:
        """Go on from another place, without having sent what is between."""
        if epoch != self.epoch:
            self._floors.clear()
        self._recent.clear()
        self.epoch = epoch
        self.position = position

    def floor(self, connection: Connection) -> int:
        """Up to where a member knows more than the feed has sent; 0 if it doesn't."""
        return self._floors.get(connection, 0)

    def send(self, batch: Batch) -> None:
        """Send the next messages to all members that don't know them."""
        self.position = batch.last
        if self._joining:
            self._recent.append(batch)
        floors = self._floors
        for codec, connections in self._members.groups():
            if floors:
                self._send_above_floors(batch, codec, connections)
                continue
            _send_to_all(connections, batch.frames(codec))
        if floors:
            self._floors = {each: floor for each, floor in floors.items() if floor > self.position}

    def _send_above_floors(
        self, batch: Batch, codec: Codec, connections: dict[Connection, None]
    ) -> None:
        for connection in connections:
            floor = self._floors.get(connection, 0)
            if floor < batch.last:
                connection.outbox.send(batch.after(floor).frames(codec))

    def begin_join(self) -> None:
        """Somebody is about to join: keep what is sent from now on."""
        self._joining += 1

    def end_join(self) -> None:
        """A join that began has ended."""
        self._joining -= 1
        if not self._joining:
            self._recent.clear()

    def has_since(self, position: int) -> bool:
        """Whether a member that joins can be sent all that came after a number."""
        oldest = self._recent[0].first if self._recent else self.position + 1
        return position + 1 >= oldest

    def admit(self, connection: Connection, position: int) -> None:
        """A member has joined between `begin_join` and `end_join`; it knows all up to a position.

        One that joins again begins anew, too: what it was sent before its reply doesn't count.

        Args:
            connection: The member.
            position: The number of the last message it knows, of the feed's epoch.
        """
        self._floors.pop(connection, None)
        if position > self.position:
            self._floors[connection] = position
            return
        for batch in self._recent:
            if batch.last > position:
                connection.outbox.send(batch.after(position).frames(connection.codec))

    def forget(self, connection: Connection) -> None:
        """A member has left."""
        self._floors.pop(connection, None)
