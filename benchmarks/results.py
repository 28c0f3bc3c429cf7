"""What was measured, and what follows from it: pure functions."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final, NamedTuple


class Shape(NamedTuple):
    """How many connections there are, and how many requests each keeps in flight."""

    connections: int
    depth: int

    def __str__(self) -> str:
        return f"{self.connections} connections, {self.depth} in flight each"


MANY: Final = Shape(64, 8)
ONE: Final = Shape(64, 1)
SHAPES: Final = (MANY, ONE)

#: How many times as many requests Jackfield is to answer per second of CPU, at least.
WANTED: Final = {
    (MANY, "aiohttp"): 3.5,
    (MANY, "fastapi"): 4.0,
    (MANY, "socketio"): 10.0,
    (MANY, "ws"): 1.5,
    (ONE, "ws"): 1.0,
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One server under one load for some seconds.

    Attributes:
        requests: How many were answered.
        seconds: How long it took.
        server_cpu: Seconds of CPU, user and system, of the server and all its children.
        load_cpu: Seconds of CPU of the load generator.
        memory: Resident bytes of the server and all its children, at the end.
        p50: Seconds that half of the requests took at most.
        p99: Seconds that 99 in 100 of them took at most.
    """

    requests: int
    seconds: float
    server_cpu: float
    load_cpu: float
    memory: int
    p50: float
    p99: float

    @property
    def per_cpu_second(self) -> float:
        """Requests per second of the server's CPU."""
        return self.requests / self.server_cpu

    @property
    def per_second(self) -> float:
        """Requests per second of a clock on the wall."""
        return self.requests / self.seconds

    @property
    def load_share(self) -> float:
        """How much of a core the load generator took."""
        return self.load_cpu / self.seconds


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
        """How many times as many requests per second of CPU; None if one was not measured.

        It is the median of the rounds' ratios: a machine that is slower in one round is slower
        for both.
        """
        pairs = list(zip(self.rounds(shape, ours), self.rounds(shape, theirs), strict=False))
        if not pairs:
            return None
        return median(one.per_cpu_second / other.per_cpu_second for one, other in pairs)

    def as_dicts(self) -> Iterable[dict[str, Any]]:
        """All of it, for a file."""
        for (shape, server), rounds in self._rounds.items():
            yield {
                "server": server,
                **shape._asdict(),
                "rounds": [{"per_cpu_second": one.per_cpu_second, **asdict(one)} for one in rounds],
            }
