"""The node's heartbeat: ping clients, refresh their state in Redis, remove that of dead nodes.

A client that has sent nothing for a whole interval is closed, and so no longer refreshed. The state
of the others is refreshed, and written again if it is missing: a flushed or restarted Redis heals
by itself.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from jackfield.config import ConnectionSettings
from jackfield.connection.hub import Hub
from jackfield.store.connections import ConnectionStore
from jackfield.topics.topics import Topics
from jackfield.wire import frames
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error

from .idle import IdleClients

#: Groups in which the pings of an interval are sent, so that no turn of the loop writes them all.
_GROUPS: Final = 50


class Heartbeat:
    """The repeated work that keeps a node's connections and their state alive.

    Args:
        hub: The node's connections.
        store: Their state in Redis.
        topics: The node's topics.
        settings: The interval, and the TTL after which a node counts as dead.
        idle_timeout: Seconds after which an idle client is closed; 0 for never.
    """

    def __init__(
        self,
        hub: Hub,
        store: ConnectionStore,
        topics: Topics,
        settings: ConnectionSettings,
        *,
        idle_timeout: float,
    ) -> None:
        self._hub = hub
        self._store = store
        self._topics = topics
        self._ttl = settings.ttl
        self._interval = settings.heartbeat
        self._idle = IdleClients(idle_timeout)
        self._log = structlog.get_logger("jackfield")
        #: Set by each refresh of the connections' state.
        self._refreshed = asyncio.Event()
        #: When Redis was last unavailable, by the event loop's time.
        self._unavailable_at = -math.inf

    async def run(self) -> None:
        """Ping, refresh and reap until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.ping, pause=0))  # takes an interval by itself
            tasks.create_task(self._repeat(self.refresh, pause=self._interval))
            tasks.create_task(self._repeat(self.reap, pause=self._interval))
            tasks.create_task(self._repeat(self.refresh_topics, pause=0))

    async def _repeat(self, beat: Callable[[], Awaitable[None]], *, pause: float) -> None:
        """Repeat for ever, whatever fails: else every connection's state would expire."""
        away = False
        while True:
            await asyncio.sleep(pause)
            try:
                await beat()
            except Error as exc:  # Redis is away: log it once, and when it is back
                self._unavailable_at = asyncio.get_running_loop().time()
                if not away:
                    self._log.warning("Redis is away", beat=beat.__name__, cause=str(exc.__cause__))
                away = True
            except Exception:  # noqa: BLE001 - see above; the log has the traceback
                self._log.exception("a heartbeat failed", beat=beat.__name__)
                await asyncio.sleep(self._interval)
            else:
                if away:
                    self._log.info("Redis is back", beat=beat.__name__)
                away = False

    async def ping(self) -> None:
        """Ping every client, spread over an interval; close who sent nothing since the last."""
        connections = list(self._hub)
        self._idle.close_idle(connections, asyncio.get_running_loop().time())
        size = -(-len(connections) // _GROUPS)
        for group in range(_GROUPS):
            for connection in connections[group * size : (group + 1) * size]:
                # While a full queue stops the reading, its pong may be unread.
                if not connection.alive and connection.reader.is_reading:
                    connection.close(CloseCode.NO_PONG)
                connection.alive = False
                connection.outbox.send(frames.HEARTBEAT)
            await asyncio.sleep(self._interval / _GROUPS)

    async def refresh(self) -> None:
        """Refresh the state of every open connection; write again what is missing."""
        connections = [each for each in self._hub if each.closing is None]
        rewritten = await self._store.heartbeat(connections)
        self._refreshed.set()
        if rewritten is None:
            self._close_all()
        elif rewritten:
            self._log.warning("state had gone from Redis and is written again", count=rewritten)

    def _close_all(self) -> None:
        """Close all: this process stood still so long that other nodes took it for dead."""
        connections = list(self._hub)
        self._log.error("taken for dead by other nodes", connections=len(connections))
        for connection in connections:
            self._topics.leave_all(connection)
            connection.close(CloseCode.UNAVAILABLE)

    async def refresh_topics(self) -> None:
        """Refresh the topics that have members here, and fill gaps that nothing else has shown."""
        # After `refresh`: only then is it known that this node doesn't count as dead.
        await self._refreshed.wait()
        self._refreshed.clear()
        await self._topics.refresh()

    async def reap(self) -> None:
        """Remove the state of dead nodes."""
        # While Redis was away no node could refresh: give them the time to.
        loop = asyncio.get_running_loop()
        if loop.time() - self._unavailable_at < self._ttl:
            return
        departed = await self._store.reap()
        if departed:
            self._log.info("removed what dead nodes left behind", connections=len(departed))
