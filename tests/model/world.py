"""What the model is held against: two nodes, each behind a proxy of its own, and one Valkey.

They run in an event loop in a thread of its own, so that a state machine, which is not
asynchronous, can use them, and clients answer pings while it thinks.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Final, TypeVar

from tests.support.nodes import NodeProcess, impatient, serving
from tests.support.paths import ROOMS
from tests.support.proxy import Proxy, proxied
from tests.support.valkeys import Valkey, single_valkey
from tests.support.waiting import wait_until

_T = TypeVar("_T")

#: What a connection has sent that is a pub/sub link.
_LINK: Final = "SSUBSCRIBE"
#: A node that was killed is forgotten soon, for presence not to be waited for; a client on a busy
#: machine answers pings in time.
_CONNECTIONS: Final = {"heartbeat": "2s", "ttl": "5s"}
#: A request is refused only where a rule makes it so, and not because the machine is busy.
_REDIS: Final = {"prefix": "test", "timeout": "10s", "probe": "500ms"}
#: Seconds: long beside what a node does in between, short beside what it waits for.
_LAG: Final = 0.03
#: Seconds in which whatever a rule does must be done: only one that fails takes as long.
_PATIENCE: Final = 60.0


class Node:
    """One node, which is started again after it was killed; its line to Valkey stays the same.

    Args:
        valkey: Its Valkey.
    """

    proxy: Proxy

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey
        self._process: NodeProcess | None = None
        self._line = AsyncExitStack()
        self._life = AsyncExitStack()
        self._is_disturbed = False

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self._process is not None

    @property
    def is_disturbed(self) -> bool:
        """Whether it may have missed events: by a fault, or as it says, on a busy machine."""
        return self._is_disturbed or any(
            line["event"] == "the link to pub/sub is lost" for line in self.process.log
        )

    @property
    def process(self) -> NodeProcess:
        """The process that runs now."""
        assert self._process is not None, "it does not run"
        return self._process

    async def begin(self) -> None:
        """Lay its line, and start it."""
        self.proxy = await self._line.enter_async_context(proxied(self._valkey.url))
        await self.start()

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        redis = {**_REDIS, "url": self.proxy.url}
        limits = {"publishes_per_second": 10_000}
        config = impatient(self.proxy.url, redis=redis, connections=_CONNECTIONS, limits=limits)
        self._process = await self._life.enter_async_context(serving(config, ROOMS))
        self._is_disturbed = False
        await wait_until(self._process.is_ready)

    async def kill(self) -> None:
        """End it as ``kill -9`` does."""
        process, self._process = self.process, None
        await process.kill()
        await self._life.aclose()

    async def end(self) -> None:
        """End it for good."""
        if self.is_up:
            await self.kill()
        await self._line.aclose()

    def cut_link(self) -> None:
        """Break its pub/sub link, which it notices at once."""
        self._is_disturbed = True
        self.proxy.cut(_LINK)

    def lag(self, *, link: bool, requests: bool) -> None:
        """Have what comes over its pub/sub link, or the replies to its requests, be late."""
        self.proxy.lag(_LAG * link, _LINK)
        self.proxy.lag(_LAG * requests)

    def strand_link(self) -> None:
        """Have its pub/sub link die unnoticed, until the next probe."""
        self._is_disturbed = True
        self.proxy.strand(_LINK)


class World:
    """The processes, and the loop that all talk to them goes through; `world` runs it.

    Args:
        loop: The loop, which runs in another thread.
    """

    valkey: Valkey
    nodes: list[Node]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._stack = AsyncExitStack()

    def do(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run something in the loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(
            asyncio.wait_for(work, _PATIENCE), self._loop
        ).result()

    async def begin(self) -> None:
        """Start everything."""
        self.valkey = await self._stack.enter_async_context(single_valkey())
        self.nodes = [Node(self.valkey) for _ in range(2)]
        for node in self.nodes:
            self._stack.push_async_callback(node.end)
        await asyncio.gather(*(node.begin() for node in self.nodes))

    async def end(self) -> None:
        """End everything."""
        await self._stack.aclose()

    async def revive(self) -> None:
        """Start the nodes that don't run."""
        await asyncio.gather(*(node.start() for node in self.nodes if not node.is_up))
        for node in self.nodes:
            node.lag(link=False, requests=False)
            await wait_until(node.process.is_ready)


@contextmanager
def world() -> Iterator[World]:
    """Run the nodes and their Valkey while the context lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="world")
    thread.start()
    running = World(loop)
    try:
        running.do(running.begin())
        yield running
    finally:
        running.do(running.end())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
