"""The load: connections that each keep some requests in flight, and what comes of it.

A process of its own, and cheap: it must never be what is measured. A request's bytes are built
once, and each reply is compared byte for byte to one that was decoded and checked before.
"""

import json
import os
import selectors
import socket
import time
from collections import Counter, deque
from contextlib import closing, suppress
from dataclasses import asdict
from typing import Final

import click
import psutil

from .message import PAYLOAD, TYPE
from .results import Measurement, Shape, percentile
from .wire import (
    CLOSE,
    DIALECTS,
    PING,
    PONG,
    TEXT,
    Dialect,
    Ring,
    WireError,
    client_frame,
    server_frame,
)
from .wire import split as split_frames

#: Seconds before anything is counted: caches and compilers get warm.
WARM_UP: Final = 1.0
#: Seconds a server may take for a first answer.
_PATIENCE: Final = 10.0
#: Seconds between looks at the clock while no reply comes.
_LOOK: Final = 0.05
#: All ids have four digits, so that all requests, and all replies, are of one size.
_FIRST_ID: Final = 1000
_MICROSECONDS: Final = 1e6
_NORMAL_CLOSURE: Final = (1000).to_bytes(2)


class Connection:
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
        self._dialect = dialect
        self._depth = depth
        self._latencies = latencies
        self._mask = os.urandom(4)
        self._rest = b""
        #: When requests that are in flight were sent, and how many at that time.
        self._sent: deque[tuple[float, int]] = deque()
        self.socket = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._upgrade(port)
        for start, answer in dialect.opening:
            message = self._next_message()
            if not message.startswith(start):
                raise WireError(f"it opens with {message!r}")
            if answer is not None:
                self.socket.sendall(client_frame(TEXT, answer, self._mask))
        self._requests, self._replies = self._learn()
        self._most = 2 * depth * self._replies.size
        self.socket.settimeout(0)

    def _upgrade(self, port: int) -> None:
        self.socket.sendall(
            f"GET {self._dialect.path} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._receive_some()
        head, _, self._rest = answer.partition(b"\r\n\r\n")
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise WireError(f"no upgrade: {head.decode(errors='replace')}")

    def _receive_some(self) -> bytes:
        data = self.socket.recv(65_536)
        if not data:
            raise WireError("it closed the connection")
        return data

    def _next_message(self) -> bytes:
        """Wait for a message, while nothing else is expected."""
        frames, rest = split_frames(self._rest)
        while not frames:
            frames, rest = split_frames(rest + self._receive_some())
        (opcode, payload), *more = frames
        if opcode != TEXT:
            raise WireError(f"a frame with opcode {opcode}: {payload!r}")
        self._rest = b"".join(server_frame(*frame) for frame in more) + rest
        return payload

    def _learn(self) -> tuple[Ring, Ring]:
        """Have each request answered once, check the replies, and keep them to compare with."""
        ids = range(_FIRST_ID, _FIRST_ID + self._depth)
        requests = Ring(
            [
                client_frame(TEXT, self._dialect.request(number, TYPE, PAYLOAD), self._mask)
                for number in ids
            ]
        )
        self.socket.sendall(requests.take(self._depth))
        replies = []
        for number in ids:
            message = self._next_message()
            try:
                answered = self._dialect.reply(message)
            except ValueError as exc:
                raise WireError(f"{exc}: {message!r}") from exc
            if answered != (number, PAYLOAD):
                raise WireError(f"a wrong reply to request {number}: {message!r}")
            replies.append(server_frame(TEXT, message))
        return requests, Ring(replies)

    def begin(self) -> None:
        """Send the first requests."""
        self._send(self._depth, time.perf_counter())

    def _send(self, count: int, now: float) -> None:
        self._write(self._requests.take(count))
        self._sent.append((now, count))

    def _write(self, data: bytes) -> None:
        # What is in flight is far smaller than the kernel's buffers.
        if self.socket.send(data) != len(data):
            raise WireError("it does not read")

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
            count = self._take_apart(data)
        if count:
            self._record(count, now)
            self._send(count, now)
        return count

    def _take_apart(self, data: bytes) -> int:
        """Take what is not just replies: part of one, or a heartbeat among them."""
        if not data:
            raise WireError("it closed the connection")
        frames, self._rest = split_frames(self._rest + data)
        count = 0
        for opcode, payload in frames:
            if opcode == PING:
                self._write(client_frame(PONG, payload, self._mask))
                continue
            for heartbeat, answer in self._dialect.heartbeats:
                if (opcode, payload) == (TEXT, heartbeat):
                    self._write(client_frame(TEXT, answer, self._mask))
                    break
            else:
                if not self._replies.match(server_frame(opcode, payload)):
                    raise WireError(f"not the reply that is due: {payload!r}")
                count += 1
        return count

    def close(self) -> None:
        """End the connection; the server has answered what was in flight when this returns."""
        with closing(self.socket), suppress(OSError):  # a server may cut the line as well
            self.socket.settimeout(_PATIENCE)
            self._write(client_frame(CLOSE, _NORMAL_CLOSURE, self._mask))
            while self.socket.recv(self._most):
                pass

    def _record(self, count: int, now: float) -> None:
        while count:
            sent_at, waiting = self._sent.popleft()
            answered = min(count, waiting)
            self._latencies[int((now - sent_at) * _MICROSECONDS)] += answered
            if answered < waiting:
                self._sent.appendleft((sent_at, waiting - answered))
            count -= answered


class _Server:
    """The processes of a server, by the one that was started."""

    def __init__(self, pid: int) -> None:
        process = psutil.Process(pid)
        self._processes = [process, *process.children(recursive=True)]

    def cpu(self) -> float:
        """Seconds, user and system."""
        times = [process.cpu_times() for process in self._processes]
        return sum(each.user + each.system for each in times)

    def memory(self) -> int:
        """Resident bytes."""
        return sum(process.memory_info().rss for process in self._processes)


def measure(port: int, pid: int, dialect: Dialect, shape: Shape, seconds: float) -> Measurement:
    """Put a server under load.

    Args:
        port: Where it listens, on this machine.
        pid: Its process.
        dialect: How it is spoken to.
        shape: How much load.
        seconds: How long, after the warm-up.

    Raises:
        WireError: It answers wrongly, or not at all.
        OSError: It is not there.
    """
    latencies: Counter[int] = Counter()
    with selectors.DefaultSelector() as selector:
        connections = [
            Connection(port, dialect, shape.depth, latencies) for _ in range(shape.connections)
        ]
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection.on_readable)
            connection.begin()

        def answered_until(end: float) -> int:
            count = 0
            while time.perf_counter() < end:
                for key, _ in selector.select(_LOOK):
                    count += key.data()
            return count

        server = _Server(pid)
        answered_until(time.perf_counter() + WARM_UP)
        latencies.clear()
        server_cpu, load_cpu, start = server.cpu(), time.process_time(), time.perf_counter()
        requests = answered_until(start + seconds)
        seconds = time.perf_counter() - start
        if not requests:
            raise WireError("it answers nothing")
        measurement = Measurement(
            requests=requests,
            seconds=seconds,
            server_cpu=server.cpu() - server_cpu,
            load_cpu=time.process_time() - load_cpu,
            memory=server.memory(),
            p50=percentile(latencies, 0.50) / _MICROSECONDS,
            p99=percentile(latencies, 0.99) / _MICROSECONDS,
        )
        for connection in connections:
            connection.close()
    return measurement


@click.command()
@click.option("--port", type=int, required=True, help="Where the server listens, on 127.0.0.1.")
@click.option("--pid", type=int, required=True, help="The server's process.")
@click.option("--dialect", type=click.Choice(list(DIALECTS)), required=True)
@click.option("--connections", type=click.IntRange(1, 1000), default=64, show_default=True)
@click.option("--depth", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.5, 60), default=2, show_default=True)
def main(
    *, port: int, pid: int, dialect: str, connections: int, depth: int, seconds: float
) -> None:
    """Put one server under load, and print the measurement as JSON."""
    shape = Shape(connections, depth)
    try:
        measurement = measure(port, pid, DIALECTS[dialect], shape, seconds)
    except (WireError, OSError, psutil.Error) as exc:
        raise click.ClickException(f"{type(exc).__name__}: {exc}") from exc
    click.echo(json.dumps(asdict(measurement)))


if __name__ == "__main__":
    main()
