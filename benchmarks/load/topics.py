"""The loads of topics: many members of one room, and rooms with one member each.

A publication is in flight until every member has its event; then the next one is sent.
"""

import time
from collections import Counter
from typing import Final

from benchmarks.message import PUBLISH, message_to
from benchmarks.wire import TEXT, Dialect, Marks, WireError, client_frame, server_frame

from .client import Client
from .flight import Flight, Progress

_LOBBY: Final = "lobby"
#: Rooms of one connection that no event comes from: as many as a server allows.
_OTHER_ROOMS: Final = 100
#: Bytes that a member reads at a time: more than a socket holds, so that one call takes all.
_MOST: Final = 1_048_576


class Echo(Client):
    """The only member of a room, who publishes to it for each event that comes from it.

    Args:
        port: Where the server listens, on this machine.
        dialect: How it is spoken to.
        room: Its room.
        depth: Publications to keep in flight.
        latencies: Counts, by microseconds, how long they took to come back.

    Raises:
        WireError: The server answers wrongly.
        OSError: It does not answer.
    """

    def __init__(
        self, port: int, dialect: Dialect, room: str, depth: int, latencies: Counter[int]
    ) -> None:
        super().__init__(port, dialect)
        self._payload = message_to(room)
        self._frame = self.frame(dialect.request(None, PUBLISH, self._payload))
        self._depth = depth
        self._flight = Flight(latencies)
        self.join(room)

    def start(self) -> None:
        """Publish first."""
        super().start()
        self._publish(self._depth, time.perf_counter())

    def _publish(self, count: int, now: float) -> None:
        self.write(self._frame * count)
        self._flight.sent(count, now)

    def on_readable(self) -> int:
        """Take the events that are there, and publish as many times.

        Returns:
            The number of events.

        Raises:
            WireError: The server sent something else.
        """
        messages = self.read()
        now = time.perf_counter()
        for message in messages:
            check_event(self.dialect, message, self._payload)
        if messages:
            self._flight.returned(len(messages), now)
            self._publish(len(messages), now)
        return len(messages)


def check_event(dialect: Dialect, message: bytes, payload: object) -> None:
    """Check that a message is an event with a payload.

    Raises:
        WireError: It is not.
    """
    try:
        received = dialect.event(message)
    except ValueError as exc:
        raise WireError(f"{exc}: {message!r}") from exc
    if received != payload:
        raise WireError(f"a wrong event: {message!r}")


class Room:
    """A room under load. Its first member publishes, and takes apart what comes.

    The other members get the same bytes: they count the events, and at the end it is compared how
    much has come. So it costs little enough for a thousand members.

    Args:
        port: Where the server listens, on this machine.
        dialect: How it is spoken to.
        members: How many it has, the publisher among them.
        depth: Publications to keep in flight.
        others: Other rooms that have a member, and no events.
        latencies: Counts, by microseconds, how long publications took until all members had them.

    Raises:
        WireError: The server answers wrongly.
        OSError: It does not answer.
    """

    def __init__(
        self,
        port: int,
        dialect: Dialect,
        *,
        members: int,
        depth: int,
        others: int,
        latencies: Counter[int],
    ) -> None:
        self.marks = Marks(server_frame(*dialect.heartbeat))
        #: Where all members read to: nobody looks at what the last one read.
        self.buffer = bytearray(_MOST)
        self._payload = message_to(_LOBBY)
        self._depth = depth
        self._flight = Flight(latencies)
        self._progress = Progress(members, depth)
        self._sent = 0
        self._finishing = False
        self._publisher = _Publisher(port, dialect, self)
        self._members = [_Member(port, dialect, self) for _ in range(members - 1)]
        self._frame = self._publisher.frame(dialect.request(None, PUBLISH, self._payload))
        self._learn(dialect)
        self._bystanders = [
            _bystander(port, dialect, range(first, min(first + _OTHER_ROOMS, others)))
            for first in range(0, others, _OTHER_ROOMS)
        ]

    def _learn(self, dialect: Dialect) -> None:
        """Have one event come to every member, and check it."""
        self._publisher.write(self._frame)
        for member in (self._publisher, *self._members):
            message = member.next_message()
            check_event(dialect, message, self._payload)
            self.marks.check(server_frame(TEXT, message))

    @property
    def clients(self) -> list[Client]:
        """All connections."""
        return [self._publisher, *self._members, *self._bystanders]

    def start(self) -> None:
        """Publish first."""
        for client in self.clients:
            client.start()
        self._publish(self._depth, time.perf_counter())

    def finished(self) -> bool:
        """Publish no more; whether all that was published has come to everyone."""
        self._finishing = True
        size = self._publisher.size
        return self._progress.done == self._sent and all(
            member.size == size for member in self._members
        )

    def check(self, message: bytes) -> None:
        """Check that a message is an event of this room.

        Raises:
            WireError: It is not.
        """
        check_event(self._publisher.dialect, message, self._payload)

    def received(self, before: int, after: int) -> None:
        """A member has got more events: when all have them, publish as many.

        Args:
            before: How many events it had got.
            after: How many it now has.
        """
        done = self._progress.advance(before, after)
        if done:
            now = time.perf_counter()
            self._flight.returned(done, now)
            if not self._finishing:
                self._publish(done, now)

    def _publish(self, count: int, now: float) -> None:
        self._publisher.write(self._frame * count)
        self._flight.sent(count, now)
        self._sent += count


class _Member(Client):
    """A member, who counts."""

    def __init__(self, port: int, dialect: Dialect, room: Room) -> None:
        super().__init__(port, dialect)
        self.room = room
        self._events = 0
        #: Bytes of all events.
        self.size = 0
        self._heartbeat_size = len(server_frame(*dialect.heartbeat))
        self.join(_LOBBY)

    def on_readable(self) -> int:
        room = self.room
        size = self.socket.recv_into(room.buffer)
        if not size:
            raise WireError("it closed the connection")
        heartbeats = room.marks.heartbeats(room.buffer, size)
        if heartbeats:
            self.write(client_frame(*self.dialect.heartbeat_answer, self._mask) * heartbeats)
        events = room.marks.events(room.buffer, size, heartbeats)
        self.received(events, size - heartbeats * self._heartbeat_size)
        return events

    def received(self, events: int, size: int) -> None:
        """More events have come, or a part of one."""
        self.size += size
        if events:
            before = self._events
            self._events += events
            self.room.received(before, self._events)


class _Publisher(_Member):
    """The member that publishes, and looks at every event."""

    def on_readable(self) -> int:
        messages = self.read()
        for message in messages:
            self.room.check(message)
        self.received(len(messages), sum(len(server_frame(TEXT, each)) for each in messages))
        return len(messages)


def _bystander(port: int, dialect: Dialect, rooms: range) -> Client:
    client = Client(port, dialect)
    for room in rooms:
        client.join(f"other-{room}")
    return client
