"""A Redis Cluster: which master has which slot, and the one that a call goes to.

redis-py's own client of a Cluster does not keep what `RedisClient` promises: with all connections
in use it fails instead of waiting, it sends ``ASKING`` and the command that it is for over two
connections, so that calls fail while a slot moves, and when one master is away it closes the
connections to all. So routing is done here, over a pool of redis-py's for each master.
"""

import asyncio
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from .servers import Pool, PoolOptions, connected, piped

_PORT: Final = 6379
#: Redirections that one call follows. A failover takes one and a moving slot two; more is a Cluster
#: whose nodes do not agree.
_REDIRECTIONS: Final = 5
#: Nodes that are asked, one after another, who has which slot, and the share of a call's time that
#: each gets: those that hang must leave the last one, and the call itself, theirs.
_ASKED: Final = 3
_ASKED_SHARE: Final = 0.25
#: Seconds between two looks at the topology while a master is away: a failover takes seconds, and
#: meanwhile every call to that master would look.
_LOOK_AGAIN: Final = 0.1

#: Commands whose keys stand behind their number, and the index of that.
_COUNTED: Final = frozenset({"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"})
_COUNT: Final = 2
#: Commands whose keys stand behind a word.
_STREAMS: Final = frozenset({"XREAD", "XREADGROUP"})
#: Commands about a server, which any may answer; compound ones by their first word.
_KEYLESS: Final = frozenset(
    {"CLIENT", "CLUSTER", "CONFIG", "ECHO", "INFO", "PING", "SCRIPT", "TIME"}
)


class Cluster:
    """The masters of a Cluster.

    Args:
        urls: A plain URL of each node that is known to begin with.
        options: Of the pool of each master.
    """

    def __init__(self, urls: Sequence[str], options: PoolOptions) -> None:
        named: list[dict[str, Any]] = [dict(parse_url(url)) for url in urls]
        #: Whom to ask who has which slot: those that the operator named, and those last seen.
        self._nodes = {_name(each.pop("host"), each.pop("port", _PORT)) for each in named}
        self._seeds = frozenset(self._nodes)
        self._arguments = {**options.arguments(), **named[0]}
        self._timeout = options.timeout
        self._servers: dict[str, Redis] = {}
        #: The master of each slot; None where nobody serves it, empty before the first look.
        self._masters: list[str | None] = []
        #: Nodes that have failed us, or have sent us elsewhere, since the last look.
        self._suspects: set[str] = set()
        self._looking = asyncio.Lock()
        self._looked_at = -math.inf

    def slot(self, key: str) -> int:
        """See `Servers`."""
        return key_slot(key.encode())

    async def shard(self, key: str) -> str:
        """See `Servers`."""
        slot = self.slot(key)
        await self._know(slot)
        return self._master(slot)

    async def link(self, shard: str) -> AbstractConnection:
        """See `Servers`."""
        return await connected(self._server(shard).connection_pool)

    async def call(self, *args: Any) -> Any:
        """Send a command to the master of its first key, and follow where that one sends it.

        A server that answers with the address of another has executed nothing.
        """
        slot = _slot_of(args)
        await self._know(slot)
        name, asking = self._master(slot), False
        for _ in range(_REDIRECTIONS):
            try:
                return await self._send(name, args, asking=asking)
            except MovedError as exc:
                name, asking = _redirected(exc, name), False
                self._masters[exc.slot_id] = name
            except AskError as exc:
                name, asking = _redirected(exc, name), True
        raise RedisConnectionError("the nodes of the Cluster send a call in circles")

    async def call_each(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands to their masters, those of one in one piece, and follow nobody."""
        replies: list[Any] = [None] * len(commands)
        by_master: dict[str, list[int]] = {}
        for index, command in enumerate(commands):
            slot = _slot_of(command)
            await self._know(slot)
            try:
                by_master.setdefault(self._master(slot), []).append(index)
            except ClusterDownError as exc:
                replies[index] = exc
        parts = await asyncio.gather(
            *(self._send_each(name, commands, indices) for name, indices in by_master.items())
        )
        for indices, part in zip(by_master.values(), parts, strict=True):
            for index, reply in zip(indices, part, strict=True):
                replies[index] = reply
        return replies

    async def refresh(self) -> None:
        """See `Servers`."""
        loop = asyncio.get_running_loop()
        wanted_at = loop.time()
        async with self._looking:
            if self._looked_at < wanted_at:  # nobody has begun to look while we waited
                self._looked_at = loop.time()
                await self._look()

    async def ping(self) -> None:
        """See `Servers`."""
        await self._know(None)
        masters = {name for name in self._masters if name is not None}
        pings = (self._send(name, ("PING",)) for name in masters)
        for reply in await asyncio.gather(*pings, return_exceptions=True):
            if isinstance(reply, BaseException):
                raise reply

    async def close(self) -> None:
        """See `Servers`."""
        await asyncio.gather(
            *(server.connection_pool.aclose() for server in self._servers.values())
        )

    async def _know(self, slot: int | None) -> None:
        """Learn who has which slot, if we don't know or if a call would go to a suspect."""
        if not self._masters:
            await self.refresh()
            return
        if slot is None:
            in_doubt = bool(self._suspects)
        else:
            master = self._masters[slot]
            in_doubt = master is None or master in self._suspects
        if in_doubt and asyncio.get_running_loop().time() >= self._looked_at + _LOOK_AGAIN:
            await self.refresh()

    def _master(self, slot: int | None) -> str:
        if slot is not None:
            master = self._masters[slot]
        else:
            masters = {name for name in self._masters if name is not None}
            master = next(iter(masters - self._suspects or masters), None)
        if master is None:
            raise ClusterDownError("a slot that no server has", status_code="CLUSTERDOWN")
        return master

    def _server(self, name: str) -> Redis:
        server = self._servers.get(name)
        if server is None:
            host, _, port = name.rpartition(":")
            pool = Pool(host=host, port=int(port), **self._arguments)
            server = self._servers[name] = Redis(connection_pool=pool)
        return server

    async def _send(self, name: str, args: Sequence[Any], *, asking: bool = False) -> Any:
        with self._suspicion(name):
            server = self._server(name)
            if not asking:
                return await server.execute_command(*args)  # type: ignore[no-untyped-call]
            # It holds for the next command of its connection.
            _, reply = await piped(server, [("ASKING",), args])
            if isinstance(reply, Exception):
                raise reply
            return reply

    async def _send_each(
        self, name: str, commands: Sequence[Sequence[Any]], indices: Sequence[int]
    ) -> list[Any]:
        try:
            with self._suspicion(name):
                return await piped(self._server(name), [commands[index] for index in indices])
        except (RedisError, OSError) as exc:
            return [exc] * len(indices)

    @contextmanager
    def _suspicion(self, name: str) -> Iterator[None]:
        """If a server fails us, look who has its slots before the next call to it."""
        try:
            yield
        except ResponseError as exc:
            # After a failover one MOVED is one of many.
            if exc.status_code in {"MOVED", "CLUSTERDOWN"}:
                self._suspects.add(name)
            raise
        # A call that takes too long is cancelled: its server may hang, and have been replaced.
        except (RedisError, OSError, asyncio.CancelledError):
            self._suspects.add(name)
            raise

    async def _look(self) -> None:
        """Learn who has which slot, from the first node that knows; suspects are asked last."""
        cause: Exception | None = None
        nodes = list(self._nodes)
        random.shuffle(nodes)
        nodes.sort(key=self._suspects.__contains__)
        for name in nodes[:_ASKED]:
            try:
                async with asyncio.timeout(self._timeout * _ASKED_SHARE):
                    ranges = await self._slots_according_to(name)
            except (RedisError, OSError) as exc:
                self._suspects.add(name)
                cause = exc
                continue
            if ranges:  # a node that the others have forgotten knows of none
                self._learn(ranges, name)
                return
        raise RedisConnectionError("no node of the Cluster says who has which slot") from cause

    async def _slots_according_to(self, name: str) -> Any:
        # Not over the pool: all its connections may be waiting for a server that hangs.
        connection = await self.link(name)
        try:
            await connection.send_command("CLUSTER SLOTS")
            return await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)

    def _learn(self, ranges: Sequence[Any], asked: str) -> None:
        masters: list[str | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        nodes = set(self._seeds)
        for first, last, *servers in ranges:
            names = [
                # A server that does not know its own address leaves it out.
                _name(str(host or b"", "utf-8") or asked.rpartition(":")[0], port)
                for host, port, *_ in servers
            ]
            masters[first : last + 1] = [names[0]] * (last + 1 - first)
            nodes.update(names)
        self._masters, self._nodes = masters, nodes
        self._suspects.clear()


def _name(host: str, port: int) -> str:
    return f"{host}:{port}"


def _redirected(error: AskError, origin: str) -> str:
    """The server that another one names; without a host it is the same."""
    return _name(error.host or origin.rpartition(":")[0], error.port)


def _slot_of(args: Sequence[Any]) -> int | None:
    """The slot of a command's first key; None if it has no key."""
    command = args[0].upper()
    if command in _COUNTED:
        if not args[_COUNT]:
            return None
        index = _COUNT + 1
    elif command in _STREAMS:
        index = args.index("STREAMS") + 1
    elif command.partition(" ")[0] in _KEYLESS:
        return None
    else:
        index = 1
    key = args[index]
    return key_slot(key if isinstance(key, bytes) else str(key).encode())
