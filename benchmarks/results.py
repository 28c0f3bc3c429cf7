"""What was measured, and what follows from it: pure functions."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final, NamedTuple

REQUESTS: Final = "requests"
FANOUT: Final = "fanout"
ECHO: Final = "echo"
#: What a load is, by the name of its scenario.
SCENARIOS: Final = {
    REQUESTS: "{connections:,} connections, {depth} in flight each",
    FANOUT: "{connections:,} members of one room, {depth} in flight",
    ECHO: "{connections:,} echoes through Redis, {depth} in flight each",
}


class Shape(NamedTuple):
    """How much load there is.

    Attributes:
        scenario: What it consists of.
        connections: How many there are.
        depth: Requests or publications that each connection, or the one that publishes, keeps in
            flight.
        others: Rooms that have members and no events.
    """

    scenario: str
    connections: int
    depth: int
    others: int = 0

    def __str__(self) -> str:
        words = SCENARIOS[self.scenario].format(**self._asdict())
        return f"{words}, {self.others:,} other rooms" if self.others else words


@dataclass(frozen=True, slots=True)
class Measurement:
    """One server under one load for some seconds.

    Attributes:
        count: How many requests were answered, or events received.
        seconds: How long it took.
        server_cpu: Seconds of CPU, user and system, of the server and all its children.
        load_cpu: Seconds of CPU of the load generator.
        redis_cpu: Seconds of CPU of a Redis that is not one of the children; None without one.
        memory: Resident bytes of the server and all its children, at the end.
        p50: Seconds that half of the requests or publications took at most.
        p99: Seconds that 99 in 100 of them took at most.
    """

    count: int
    seconds: float
    server_cpu: float
    load_cpu: float
    redis_cpu: float | None
    memory: int
    p50: float
    p99: float

    @property
    def per_cpu_second(self) -> float:
        """How many per second of the server's CPU."""
        return self.count / self.server_cpu

    @property
    def per_second(self) -> float:
        """How many per second of a clock on the wall."""
        return self.count / self.seconds

    @property
    def load_share(self) -> float:
        """How much of a core the load generator took."""
        return self.load_cpu / self.seconds

    @property
    def redis_each(self) -> float:
        """Seconds of CPU that Redis took for each; 0 without one that is counted apart."""
        return (self.redis_cpu or 0) / self.count


def percentile(histogram: Mapping[int, int], share: float) -> int:
    """The least value that a share of all observations does not exceed (nearest rank).

    Args:
        histogram: How often each value was observed.
        share: More than 0, at most 1.

    Raises:
        ValueError: Nothing was observed.
    """
    rank = math.ceil(share * sum(histogram.values()))
    for value, count in sorted(histogram.items()):
        rank -= count
        if rank <= 0:
            return value
    raise ValueError("nothing was observed")


def _median_ratio(ours: Iterable[Measurement], theirs: Iterable[Measurement]) -> float | None:
    ratios = [
        one.per_cpu_second / other.per_cpu_second for one, other in zip(ours, theirs, strict=False)
    ]
    return median(ratios) if ratios else None


class Results:
    """The measurements of one run, by shape and server, one for each round."""

    def __init__(self) -> None:
        self._rounds: dict[tuple[Shape, str], list[Measurement]] = {}

    def add(self, shape: Shape, server: str, measurement: Measurement) -> None:
        """Add the measurement of the next round."""
        self._rounds.setdefault((shape, server), []).append(measurement)

    def servers(self, shape: Shape) -> list[str]:
        """Those that were measured, in the order of the first round."""
        return [server for measured, server in self._rounds if measured == shape]

    def rounds(self, shape: Shape, server: str) -> Sequence[Measurement]:
        """A server's measurements, in the order of the rounds."""
        return self._rounds.get((shape, server), [])

    def median(self, shape: Shape, server: str, figure: Callable[[Measurement], float]) -> float:
        """The median of a figure over the rounds."""
        return median(map(figure, self.rounds(shape, server)))

    def ratio(self, shape: Shape, ours: str, theirs: str) -> float | None:
        """How many times as many per second of CPU; None if one was not measured.

        It is the median of the rounds' ratios: a machine that is slower in one round is slower
        for both.
        """
        return _median_ratio(self.rounds(shape, ours), self.rounds(shape, theirs))

    def cost_ratio(self, server: str, shape: Shape, other: Shape) -> float | None:
        """How many times as much CPU each takes a server at a shape as at another.

        None if one was not measured; else the median of the rounds' ratios.
        """
        return _median_ratio(self.rounds(other, server), self.rounds(shape, server))

    def as_dicts(self) -> Iterable[dict[str, Any]]:
        """All of it, for a file."""
        for (shape, server), rounds in self._rounds.items():
            yield {
                "server": server,
                **shape._asdict(),
                "rounds": [{"per_cpu_second": one.per_cpu_second, **asdict(one)} for one in rounds],
            }
