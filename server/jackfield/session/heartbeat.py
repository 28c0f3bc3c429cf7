"""The node's heartbeat: pings to its clients, signs of life to Redis, and the reaping of the dead.

A client from which nothing came for a whole interval is closed, and so no longer refreshed. The
others' state in Redis is, and it is written again if it has gone: a flushed or restarted Redis
heals by itself.
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

#: Pings are sent in this many groups over an interval, so that no tick has all of them to write.
_GROUPS: Final = 50


class Heartbeat:
    """Keeps a node's connections alive in both directions.

    Args:
        hub: Its connections.
        store: Their state in Redis.
        topics: Its topics.
        settings: How often it beats, and after how long it counts as dead.
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
        #: Set by each heartbeat that reached Redis.
        self._beaten = asyncio.Event()
        #: When Redis was last away.
        self._failed_at = -math.inf

    async def run(self) -> None:
        """Beat until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.ping, pause=0))  # it takes an interval itself
            tasks.create_task(self._repeat(self.refresh, pause=self._interval))
            tasks.create_task(self._repeat(self.reap, pause=self._interval))
            tasks.create_task(self._repeat(self.refresh_topics, pause=0))

    async def _repeat(self, beat: Callable[[], Awaitable[None]], *, pause: float) -> None:
        """Beat for ever: a heart that stops for one fault would let every connection's state go."""
        away = False
        while True:
            await asyncio.sleep(pause)
            try:
                await beat()
            except Error as exc:  # Redis is away; say so once, and when it is back
                self._failed_at = asyncio.get_running_loop().time()
                if not away:
                    self._log.warning("Redis is away", beat=beat.__name__, cause=str(exc.__cause__))
                away = True
            except Exception:  # noqa: BLE001 - see above; the log has the trace
                self._log.exception("a heartbeat failed", beat=beat.__name__)
                await asyncio.sleep(self._interval)
            else:
                if away:
                    self._log.info("Redis is back", beat=beat.__name__)
                away = False

    async def ping(self) -> None:
        """Ping everyone, spread over an interval; close who said nothing since the last time."""
        connections = list(self._hub)
        self._idle.close(connections, asyncio.get_running_loop().time())
        size = -(-len(connections) // _GROUPS)
        for group in range(_GROUPS):
            for connection in connections[group * size : (group + 1) * size]:
                # What isn't read for a full queue may well hold the pong.
                if not connection.alive and connection.reader.is_reading:
                    connection.close(CloseCode.NO_PONG)
                connection.alive = False
                connection.outbox.send(frames.HEARTBEAT)
            await asyncio.sleep(self._interval / _GROUPS)

    async def refresh(self) -> None:
        """Refresh the state of every open connection; write again what has gone."""
        connections = [each for each in self._hub if each.closing is None]
        rewritten = await self._store.heartbeat(connections)
        self._beaten.set()
        if rewritten is None:
            self._close_all()
        elif rewritten:
            self._log.warning("state had gone from Redis and is written again", count=rewritten)

    def _close_all(self) -> None:
        """This process stood still for so long that others have announced its clients' leaving."""
        connections = list(self._hub)
        self._log.error("taken for dead by other nodes", connections=len(connections))
        for connection in connections:
            self._topics.leave_all(connection)
            connection.close(CloseCode.UNAVAILABLE)

    async def refresh_topics(self) -> None:
        """Keep topics with members here alive, and fill gaps that nothing else has told of."""
        # Behind a heartbeat: only then is it known that the members here are still to be counted.
        await self._beaten.wait()
        self._beaten.clear()
        await self._topics.refresh()

    async def reap(self) -> None:
        """Remove what dead nodes left behind."""
        # While Redis was away all nodes were silent: give them the time to come back.
        loop = asyncio.get_running_loop()
        if loop.time() - self._failed_at < self._ttl:
            return
        departed = await self._store.reap()
        if departed:
            self._log.info("removed what dead nodes left behind", connections=len(departed))
