"""The load of requests: connections that each send a request for each reply.

It is cheap: a request's bytes are built once, and each reply is compared byte for byte to one that
was decoded and checked before.
"""

import time
from collections import Counter
from typing import Final

from benchmarks.message import PAYLOAD, TYPE
from benchmarks.wire import TEXT, Dialect, Ring, WireError, server_frame

from .client import Client
from .flight import Flight

#: All ids have four digits, so that all requests, and all replies, are of one size.
_FIRST_ID: Final = 1000


class Requester(Client):
    """A client that sends a request for each reply.

    Args:
        port: Where the server listens, on this machine.
        dialect: How it is spoken to.
        depth: Requests to keep in flight.
        latencies: Counts, by microseconds, how long requests took.

    Raises:
        WireError: The server answers wrongly.
        OSError: It does not answer.
    """

    def __init__(self, port: int, dialect: Dialect, depth: int, latencies: Counter[int]) -> None:
        super().__init__(port, dialect)
        self._depth = depth
        self._flight = Flight(latencies)
        self._requests, self._replies = self._learn()
        self._most = 2 * depth * self._replies.size

    def _learn(self) -> tuple[Ring, Ring]:
        """Have each request answered once, check the replies, and keep them to compare with."""
        ids = range(_FIRST_ID, _FIRST_ID + self._depth)
        requests = Ring([self.frame(self.dialect.request(number, TYPE, PAYLOAD)) for number in ids])
        self.write(requests.take(self._depth))
        replies = []
        for number in ids:
            message = self.next_message()
            try:
                answered = self.dialect.reply(message)
            except ValueError as exc:
                raise WireError(f"{exc}: {message!r}") from exc
            if answered != (number, PAYLOAD):
                raise WireError(f"a wrong reply to request {number}: {message!r}")
            replies.append(server_frame(TEXT, message))
        return requests, Ring(replies)

    def start(self) -> None:
        """Send the first requests."""
        super().start()
        self._send(self._depth, time.perf_counter())

    def _send(self, count: int, now: float) -> None:
        self.write(self._requests.take(count))
        self._flight.sent(count, now)

    def on_readable(self) -> int:
        """Take the replies that are there, and send as many requests.

        Returns:
            The number of replies.

        Raises:
            WireError: The server sent something else.
        """
        data = self.socket.recv(self._most)
        now = time.perf_counter()
        count = 0 if self._rest else self._replies.match(data)
        if not count:
            count = self._take_one_by_one(data)
        if count:
            self._flight.returned(count, now)
            self._send(count, now)
        return count

    def _take_one_by_one(self, data: bytes) -> int:
        """Take what is not just replies: part of one, or a heartbeat among them."""
        if not data:
            raise WireError("it closed the connection")
        messages = self._take_apart(data)
        for message in messages:
            if not self._replies.match(server_frame(TEXT, message)):
                raise WireError(f"not the reply that is due: {message!r}")
        return len(messages)
