"""Measuring a server under load: what it did in some seconds, and what that took."""

import os
import selectors
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

import psutil

from benchmarks.results import ECHO, FANOUT, Measurement, Shape, percentile
from benchmarks.wire import Dialect, WireError

from . import WARM_UP
from .client import PATIENCE, Client, close_all
from .requests import Requester
from .topics import Echo, Room

#: Seconds between looks at the clock while nothing comes.
_LOOK: Final = 0.05
_MICROSECONDS: Final = 1e6


class Load(Protocol):
    """What is put on a server."""

    @property
    def clients(self) -> Sequence[Client]:
        """All connections."""

    def start(self) -> None:
        """Send first."""

    def finished(self) -> bool:
        """Whether all that should come has come; asked when the measurement is over."""


class _Each:
    """Clients that have nothing to do with each other."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self.clients = clients

    def start(self) -> None:
        for client in self.clients:
            client.start()

    def finished(self) -> bool:
        return True  # a reply that is missing is missed at once


def _load(port: int, dialect: Dialect, shape: Shape, latencies: Counter[int]) -> Load:
    if shape.scenario == FANOUT:
        return Room(
            port,
            dialect,
            members=shape.connections,
            depth=shape.depth,
            others=shape.others,
            latencies=latencies,
        )
    if shape.scenario == ECHO:
        # Rooms that were never there: what was in flight to earlier ones may still come.
        rooms = [f"room-{os.getpid()}-{number}" for number in range(shape.connections)]
        return _Each([Echo(port, dialect, room, shape.depth, latencies) for room in rooms])
    return _Each(
        [Requester(port, dialect, shape.depth, latencies) for _ in range(shape.connections)]
    )


class _Processes:
    """A process and its children."""

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


class _Counting:
    """Serves the clients of a load, and counts."""

    def __init__(self, load: Load, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        for client in load.clients:
            selector.register(client.socket, selectors.EVENT_READ, client.on_readable)

    def step(self) -> int:
        """Take what is there, or comes soon."""
        return sum([key.data() for key, _ in self._selector.select(_LOOK)])

    def until(self, end: float) -> int:
        """Take what comes until the clock says so."""
        count = 0
        while time.perf_counter() < end:
            count += self.step()
        return count


def measure(
    port: int,
    dialect: Dialect,
    shape: Shape,
    seconds: float,
    *,
    pid: int,
    redis_pid: int | None = None,
) -> Measurement:
    """Put a server under load.

    Args:
        port: Where it listens, on this machine.
        dialect: How it is spoken to.
        shape: How much load.
        seconds: How long, after the warm-up.
        pid: Its process.
        redis_pid: The process of a Redis that it uses and that is not its child.

    Raises:
        WireError: It answers wrongly, or not at all.
        OSError: It is not there.
    """
    latencies: Counter[int] = Counter()
    with selectors.DefaultSelector() as selector:
        load = _load(port, dialect, shape, latencies)
        counting = _Counting(load, selector)
        load.start()
        server = _Processes(pid)
        redis = None if redis_pid is None else _Processes(redis_pid)
        counting.until(time.perf_counter() + WARM_UP)
        latencies.clear()
        server_cpu, load_cpu, start = server.cpu(), time.process_time(), time.perf_counter()
        redis_cpu = None if redis is None else redis.cpu()
        count = counting.until(start + seconds)
        seconds = time.perf_counter() - start
        if not latencies:
            raise WireError("it answers nothing, or nothing in time")
        measurement = Measurement(
            count=count,
            seconds=seconds,
            server_cpu=server.cpu() - server_cpu,
            load_cpu=time.process_time() - load_cpu,
            redis_cpu=None if redis is None or redis_cpu is None else redis.cpu() - redis_cpu,
            memory=server.memory(),
            p50=percentile(latencies, 0.50) / _MICROSECONDS,
            p99=percentile(latencies, 0.99) / _MICROSECONDS,
        )
        _finish(load, counting)
        close_all(load.clients)
    return measurement


def _finish(load: Load, counting: _Counting) -> None:
    deadline = time.perf_counter() + PATIENCE
    while not load.finished():
        if time.perf_counter() > deadline:
            raise WireError("not all that was sent has come to everyone, or more has")
        counting.step()
