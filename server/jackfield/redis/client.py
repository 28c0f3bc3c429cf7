"""Calls to Redis: bounded in time, never repeated, and one map from its failures to our error."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from jackfield.config import RedisSettings, split_redis_url
from jackfield.wire.errors import Error

from .cluster import Cluster
from .servers import OneServer, PoolOptions, Servers, one_server, sentinel_master

Result = TypeVar("Result")

#: What a command or a script is given.
Argument = str | bytes | float

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
        "MOVED",  # it no longer has what is asked for over a `link`
        "MISCONF",  # it can't write to its disk, and so takes no writes
        "NOREPLICAS",
        "OOM",
        "READONLY",  # a replica: a failover is on its way
        "TRYAGAIN",
        "NOAUTH",
        "WRONGPASS",
    }
)


#: The replies by which a server says that it has not run a script; a MOVED is an `AskError`, too.
_NOT_RUN: Final = (exceptions.NoScriptError, exceptions.AskError)


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


def _servers(settings: RedisSettings, url: str) -> Servers:
    address = split_redis_url(url)
    password = None if settings.password is None else settings.password.reveal()
    options = PoolOptions(settings.pool, settings.timeout, password, settings.tls_ca)
    if address.kind == "cluster":
        return Cluster(address.urls, options)
    if address.kind == "sentinel":
        return sentinel_master(address.urls, address.service, options)
    return one_server(url, options)


def _give_up(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_exception(Error("unavailable", retry_after=_RETRY_AFTER))


class RedisClient:
    """Connections to a Redis or Valkey: one server, a master that Sentinels name, or a Cluster.

    In a Cluster a call goes to the server that has its first key, and all its keys must be of one
    slot. What has no key (``INFO``) goes to any server.

    Args:
        settings: See `jackfield.config.RedisSettings`; its ``url`` is not read.
        url: Where it is, see `jackfield.config.split_redis_url`.
    """

    def __init__(self, settings: RedisSettings, url: str) -> None:
        self._timeout = settings.timeout
        self._servers = _servers(settings, url)
        self._call = self._servers.call

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Bound what is done with Redis in time, and say ``unavailable`` if it fails.

        The methods here do this by themselves; what is done with a `link` needs it.

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

    async def wait(self, future: "asyncio.Future[Result]") -> Result:
        """Wait for what is to come over a `link`, bounded as all else: cheaper than `bounded`.

        Raises:
            Error: ``unavailable``: it does not come within ``redis.timeout``.
        """
        timer = future.get_loop().call_later(self._timeout, _give_up, future)
        try:
            return await future
        finally:
            timer.cancel()

    async def execute(self, *args: Argument) -> Any:
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

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()) -> Any:
        """Run a Lua script, once; a server that doesn't know it yet is sent its text.

        Args:
            script: The script.
            keys: Every key that it touches; all of one `slot`.
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

    async def run_each(
        self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]:
        """Run a Lua script several times, each time once and with keys of another slot.

        In a Cluster this costs a tenth of as many calls. All are run, whatever becomes of one.

        Args:
            script: The script.
            calls: The keys and the other arguments of each.

        Returns:
            Their replies.

        Raises:
            Error: ``unavailable``, see `bounded`, where any of them is.
            redis.exceptions.ResponseError: The script is wrong.
        """
        if len(calls) == 1:
            return [await self.run(script, *calls[0])]
        commands = [("EVALSHA", script.sha, len(keys), *keys, *args) for keys, args in calls]
        async with self.bounded():
            replies = await self._servers.call_each(commands)
        # Unknown to a server, or MOVED: not run yet.
        left = [index for index, reply in enumerate(replies) if isinstance(reply, _NOT_RUN)]
        later = (self.run(script, *calls[index]) for index in left)
        outcomes = await asyncio.gather(*later, return_exceptions=True)
        for index, outcome in zip(left, outcomes, strict=True):
            replies[index] = outcome
        async with self.bounded():
            for reply in replies:
                if isinstance(reply, BaseException):
                    raise reply
        return replies

    async def ping(self) -> bool:
        """Whether Redis answers; in a Cluster, whether every master does."""
        try:
            async with self.bounded():
                await self._servers.ping()
        except Error:
            return False
        return True

    def slot(self, key: str) -> int:
        """The hash slot of a key: keys of one slot may be in one call. 0 unless in a Cluster."""
        return self._servers.slot(key)

    async def shard(self, key: str) -> str:
        """The name of the server that has a key; ``""`` where there is only one.

        Raises:
            Error: ``unavailable``, see `bounded`.
        """
        if isinstance(self._servers, OneServer):  # nothing to find out: it need not be bounded
            return ""
        async with self.bounded():
            return await self._servers.shard(key)

    async def link(self, shard: str) -> AbstractConnection:
        """Make a connection apart from the pool, as pub/sub needs one.

        Whoever gets it ends it, by its ``disconnect``. Sending over a lost one would connect it
        anew, without its subscriptions: after a failure it is to be given up.

        Args:
            shard: The name of a server, from `shard`.

        Raises:
            Error: ``unavailable``, see `bounded`.
        """
        async with self.bounded():
            return await self._servers.link(shard)

    async def refresh_topology(self) -> None:
        """Learn anew which server has which key, which a failover changes.

        Calls find out by themselves; who holds a `link` must ask when it is lost.

        Raises:
            Error: ``unavailable``, see `bounded`.
        """
        async with self.bounded():
            await self._servers.refresh()

    async def close(self) -> None:
        """Close every connection but the links."""
        await self._servers.close()
