"""What chaos is done to: a Valkey behind a proxy, and nodes that are started again and again."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.nodes import NodeProcess, impatient, serving
from tests.support.paths import ROOMS
from tests.support.proxy import Proxy, proxied
from tests.support.valkeys import Valkey, single_valkey

#: A node that is held still for the longest time that it may be is dead to the others by then.
_CONNECTIONS: Final = {"heartbeat": "1s", "ttl": "4s"}


class Place:
    """Where a node runs: one process, and after its death another.

    Args:
        name: What it is called in what is told.
        config: The configuration of its nodes.
    """

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self.name = name
        #: The exceptions that nodes have logged, and how often.
        self.exceptions: Counter[str] = Counter()
        self._config = config
        self._node: NodeProcess | None = None
        self._stack = AsyncExitStack()

    @property
    def node(self) -> NodeProcess:
        """The node that runs here."""
        assert self._node is not None, f"{self.name} does not run"
        return self._node

    @property
    def is_there(self) -> bool:
        """Whether a node runs here, be it held still."""
        return self._node is not None

    async def start(self) -> None:
        """Start a node."""
        self._node = await self._stack.enter_async_context(serving(self._config, ROOMS))

    async def kill(self) -> None:
        """End the node at once."""
        node, self._node = self.node, None
        await node.kill()
        await self._stack.aclose()
        self.exceptions.update(
            f"{self.name} logged {_words(line)}" for line in node.log if "exception" in line
        )


@dataclass(frozen=True)
class System:
    """All processes.

    Attributes:
        valkey: The Redis that all nodes share.
        proxy: The line between them.
        places: Where the nodes run.
    """

    valkey: Valkey
    proxy: Proxy
    places: Sequence[Place]

    def address(self) -> str:
        """The WebSocket of a node that runs, as a load balancer would choose it."""
        running = [place for place in self.places if place.is_there]
        # Where none runs nobody listens: a client tries again.
        return random.choice(running).node.url if running else "ws://127.0.0.1:1/ws"


@asynccontextmanager
async def running(nodes: int, data: Path) -> AsyncIterator[System]:
    """Run a Valkey that keeps its data when it is killed, the proxy, and nodes.

    Args:
        nodes: How many nodes.
        data: Where Valkey keeps its data.
    """
    async with (
        single_valkey(data=data) as valkey,
        proxied(valkey.url) as proxy,
        AsyncExitStack() as stack,
    ):
        config = impatient(proxy.url, connections=_CONNECTIONS)
        places = [Place(f"node {number}", config) for number in range(1, nodes + 1)]
        for place in places:
            stack.push_async_callback(_end, place)
        await asyncio.gather(*(place.start() for place in places))
        yield System(valkey, proxy, places)


def _words(line: Mapping[str, Any]) -> str:
    """A logged exception in short, without what is different each time."""
    innermost = line["exception"][-1]
    frame = innermost["frames"][-1] if innermost["frames"] else {"filename": "", "lineno": 0}
    where = f"{frame['filename']}:{frame['lineno']}"
    return f"{innermost['exc_type']}: {innermost['exc_value']} ({where})"


async def _end(place: Place) -> None:
    if place.is_there:
        await place.kill()
