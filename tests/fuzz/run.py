"""One run: clients of several identities send messages at random to two nodes, and a verdict."""

import asyncio
import json
import random
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.fuzz.client import FuzzClient, Tally
from tests.fuzz.messages import Memory
from tests.support.nodes import NodeProcess, impatient, serving
from tests.support.paths import ROOMS
from tests.support.resident import resident_bytes
from tests.support.tokens import jwt_section, token
from tests.support.valkeys import single_valkey

#: Seconds between two looks at how much memory the nodes take.
_LOOK: Final = 2.0
#: Seconds that a run takes at least for its second half to tell whether memory grows.
_LONG_ENOUGH: Final = 240.0
#: MiB a minute that a node may grow over the second half of a run.
_MOST_GROWTH: Final = 0.2
_MIB: Final = 2**20


@dataclass(frozen=True)
class Plan:
    """What a run is to be.

    Attributes:
        seconds: How long messages are sent.
        seed: What chance begins with.
        clients: How many send.
        nodes: How many nodes there are.
    """

    seconds: float
    seed: int
    clients: int = 8
    nodes: int = 2


@dataclass(frozen=True)
class Report:
    """How a run went.

    Attributes:
        tally: What was sent and came.
        growth: MiB a minute that each node grew by, over the second half.
        wrong: What must not be, in words; nothing if all is well.
    """

    tally: Tally
    growth: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Fuzz:
    """A run.

    Args:
        plan: What it is to be.
        tell: Called with what happens, in words.
    """

    def __init__(self, plan: Plan, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._tell = tell
        self.tally = Tally()
        #: MiB that each node takes, with when that was.
        self.memory: list[list[tuple[float, float]]] = [[] for _ in range(plan.nodes)]

    async def run(self) -> Report:
        """Run it to its end."""
        async with AsyncExitStack() as stack:
            valkey = await stack.enter_async_context(single_valkey())
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            config, file = _config(valkey.url), _config_file(directory)
            nodes = [
                await stack.enter_async_context(serving(config, ROOMS, file=file))
                for _ in range(self._plan.nodes)
            ]
            self._tell(f"{len(nodes)} nodes are up")
            await self._send(nodes)
            wrong = [f"{words}, {n} times" for words, n in self.tally.wrong.items()]
            for node in nodes:
                if not await node.is_ready():
                    wrong.append(f"{node.address} is not ready")
                wrong += _traces(node)
        growth = [_growth(samples) for samples in self.memory]
        if self._plan.seconds >= _LONG_ENOUGH:
            wrong += [
                f"a node grows by {each:.2f} MiB a minute"
                for each in growth
                if each >= _MOST_GROWTH
            ]
        return Report(self.tally, growth, wrong)

    async def _send(self, nodes: list[NodeProcess]) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        end = begin + self._plan.seconds
        memory = Memory()
        addresses = [node.url for node in nodes]
        looking = asyncio.create_task(self._look(nodes, begin))
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._plan.clients):
                    chance = random.Random(f"{self._plan.seed} {number}")
                    client = FuzzClient(addresses, _identities(), chance, memory, self.tally)
                    group.create_task(client.run(lambda: loop.time() < end))
        finally:
            looking.cancel()

    async def _look(self, nodes: list[NodeProcess], begin: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for node, samples in zip(nodes, self.memory, strict=True):
                samples.append((loop.time() - begin, resident_bytes(node.pid) / _MIB))
            await asyncio.sleep(_LOOK)


def _config(redis_url: str) -> dict[str, Mapping[str, object]]:
    # What ends is soon forgotten, so that a run of minutes shows what is not.
    agents = {"timeout": "5s", "lease": "3s", "ttl": "10s", "remember": "20s"}
    return impatient(redis_url, auth={"anonymous": True}, agents=agents)


def _config_file(directory: Path) -> Path:
    """Write by which keys tokens are signed, which only a file can say."""
    file = directory / "jackfield.toml"
    keys = (f"{key} = {json.dumps(value)}" for key, value in jwt_section(directory).items())
    file.write_text("\n".join(["[auth.jwt]", *keys]))
    return file


def _identities() -> list[Mapping[str, str]]:
    """Nobody, users, and agents, by the headers of their handshakes."""
    grants = [
        ("alice", ""),
        ("bob", "staff"),
        ("bot", "agent"),
        ("bot", "agent"),
        ("other", "agent"),
    ]
    tokens = [token(sub=user, scope=scope, jti=f"{user}-{scope}") for user, scope in grants]
    return [{}, *({"Authorization": f"Bearer {each}"} for each in tokens)]


def _traces(node: NodeProcess) -> list[str]:
    """The exceptions that a node has logged, and what it said that is no line of a log."""
    said: Counter[str] = Counter()
    for line in node.log:
        if "exception" in line:
            innermost = line["exception"][-1]
            frames = innermost["frames"] or [{"filename": "", "lineno": 0}]
            said[
                f"it logged {innermost['exc_type']}: {innermost['exc_value'][:200]} "
                f"({frames[-1]['filename']}:{frames[-1]['lineno']})"
            ] += 1
        elif line.get("level") in {"error", "critical"}:
            said[f"it logged {line['event']}"] += 1
    return [f"{words}, {times} times" for words, times in said.items()]


def _growth(samples: list[tuple[float, float]]) -> float:
    """MiB a minute over the second half: the slope between the medians of its halves."""
    half = samples[len(samples) // 2 :]
    if len(half) < 4:
        return 0.0
    middle = len(half) // 2
    earlier, later = half[:middle], half[middle:]
    (begin, before), (end, after) = (
        (statistics.median(at for at, _ in part), statistics.median(size for _, size in part))
        for part in (earlier, later)
    )
    return (after - before) / (end - begin) * 60
