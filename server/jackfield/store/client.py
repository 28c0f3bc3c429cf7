"""Calls to Redis: bounded in time, never repeated, and one map from its failures to our error."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from jackfield.config import RedisSettings
from jackfield.errors import Error

#: What a client is told to wait, in seconds: a restarted Redis is back in about that time.
_RETRY_AFTER: Final = 1.0

#: The replies by which a server says that it can't serve for now, or not us: all but the last two
#: pass without our doing, and those are the operator's to mend. Other error replies
#: (``WRONGTYPE``) are faults of ours, and are raised as they are.
_AWAY: Final = frozenset(
    {
        "BUSY",  # it runs somebody's endless script
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",  # it can't write to its disk, and so takes no writes
        "NOREPLICAS",
        "OOM",
        "READONLY",  # a replica: a failover is on its way
        "TRYAGAIN",
        "NOAUTH",
        "WRONGPASS",
    }
)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script.

    Attributes:
        source: Its text.
        sha: The SHA-1 of the text, by which the server knows a script that it has seen.
    """

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False)
        object.__setattr__(self, "sha", digest.hexdigest())


class RedisClient:
    """A pool of connections to one Redis or Valkey server.

    Args:
        settings: See `jackfield.config.RedisSettings`; its ``url`` is not read.
        url: The address: ``redis://``, ``rediss://`` or ``unix://``.
    """

    def __init__(self, settings: RedisSettings, url: str) -> None:
        self._timeout = settings.timeout
        options: dict[str, Any] = {
            # RESP2: one reply for one command and nothing in between, which is what lets the pool
            # see an unread reply on a connection, and close it before anyone gets the wrong one.
            "protocol": 2,
            "socket_connect_timeout": settings.timeout,
            # `bounded` is the one bound of a call. With a second one here, redis-py wraps each
            # write in `asyncio.wait_for`: a third more CPU per call, and on Python 3.11 a
            # cancellation can get lost in it.
            "socket_timeout": None,
            # By default redis-py 8 repeats a command up to ten times, also one whose reply was
            # lost: it executed an INCR twice. Who may repeat a call is for the caller to know.
            "retry": Retry(NoBackoff(), 0),
        }
        if settings.password is not None:
            options["password"] = settings.password.reveal()
        self._pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url, max_connections=settings.pool, timeout=settings.timeout, **options
        )
        # Subscribers hold their connection for good: in the pool they would use it up, and calls
        # that use it up would stop them.
        self._subscriptions: ConnectionPool = ConnectionPool.from_url(url, **options)
        # redis-py has no types for this one.
        self._call: Callable[..., Awaitable[Any]] = Redis(
            connection_pool=self._pool
        ).execute_command

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Bound what is done with Redis in time, and say ``unavailable`` if it fails.

        `execute` and `run` do this by themselves; what is done with a subscriber needs it.

        Raises:
            Error: ``unavailable``: Redis can't be reached, does not answer within
                ``redis.timeout`` or says that it can't serve.
        """
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except exceptions.DataError:  # an argument that can't be sent: our fault
            raise
        except exceptions.ResponseError as exc:
            code = exc.status_code or str(exc).partition(" ")[0]
            if code not in _AWAY:
                raise
            raise Error("unavailable", retry_after=_RETRY_AFTER) from exc
        except (exceptions.RedisError, OSError) as exc:  # TimeoutError is an OSError
            raise Error("unavailable", retry_after=_RETRY_AFTER) from exc

    async def execute(self, *args: str | bytes | float) -> Any:
        """Send one command, once.

        After an error it is not known whether the server has executed it: a reply can be lost, and
        a server that hung reads the command when it wakes.

        Args:
            *args: The command's name and its arguments, a compound name as one (``SCRIPT FLUSH``).

        Returns:
            The reply: strings are bytes, a hash is a dict.

        Raises:
            Error: ``unavailable``, see `bounded`.
            redis.exceptions.ResponseError: The command is wrong.
        """
        async with self.bounded():
            return await self._call(*args)

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | float] = ()
    ) -> Any:
        """Run a Lua script, once; a server that doesn't know it yet is sent its text.

        Args:
            script: The script.
            keys: Every key that it touches; all of one slot, for Redis Cluster.
            args: Its other arguments.

        Returns:
            The reply: strings are bytes, Lua's ``false`` is None.

        Raises:
            Error: ``unavailable``, see `bounded`.
            redis.exceptions.ResponseError: The script is wrong.
        """
        operands = (len(keys), *keys, *args)
        async with self.bounded():
            try:
                return await self._call("EVALSHA", script.sha, *operands)
            except exceptions.NoScriptError:  # nothing has run
                return await self._call("EVAL", script.source, *operands)

    async def ping(self) -> bool:
        """Whether Redis answers."""
        try:
            await self.execute("PING")
        except Error:
            return False
        return True

    def subscriber(self) -> PubSub:
        """A subscriber on a connection of its own, apart from the pool; `PubSub.aclose` ends it.

        It does not repeat anything either: after a failure it is its owner's to subscribe again,
        who alone knows what was missed.
        """
        return PubSub(self._subscriptions)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
        await self._subscriptions.aclose()
