"""Where the calls of a client go: to one server, or to the master that Sentinels name."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import (
    AbstractConnection,
    ConnectionPool,
    SSLConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError

#: Sends one command, over a connection of a pool, and returns its reply.
SendCommand = Callable[..., Awaitable[Any]]

_SENTINEL_PORT: Final = 26_379


class Servers(Protocol):
    """What `RedisClient` sends its calls to. Nothing here is bounded in time, see there."""

    @property
    def call(self) -> SendCommand:
        """Sends one command to the server that has its keys, and returns its reply."""

    async def call_each(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands, and return their replies, errors among them."""

    def slot(self, key: str) -> int:
        """See `RedisClient.slot`."""

    async def shard(self, key: str) -> str:
        """See `RedisClient.shard`."""

    async def link(self, shard: str) -> AbstractConnection:
        """See `RedisClient.link`."""

    async def refresh(self) -> None:
        """See `RedisClient.refresh_topology`."""

    async def ping(self) -> None:
        """Have every server answer; raises what goes wrong."""

    async def close(self) -> None:
        """Close every connection but the links."""


class PoolOptions(NamedTuple):
    """What is the same for every server.

    Attributes:
        size: Connections, at most.
        timeout: Seconds that making a connection, or waiting for one, may take.
        password: The password, where the URL has none.
        tls_ca: The file of the authorities that may vouch for a server; None for the system's.
    """

    size: int
    timeout: float
    password: str | None
    tls_ca: str | None

    def arguments(self) -> dict[str, Any]:
        """The arguments of a pool."""
        arguments: dict[str, Any] = {
            "max_connections": self.size,
            "timeout": self.timeout,
            # RESP2: one reply for one command and nothing in between, which is what lets the pool
            # see an unread reply on a connection, and close it before anyone gets the wrong one.
            "protocol": 2,
            "socket_connect_timeout": self.timeout,
            # `RedisClient.bounded` is the one bound of a call. With a second one here, redis-py
            # wraps each write in `asyncio.wait_for`: a third more CPU per call, and on Python 3.11
            # a cancellation can get lost in it.
            "socket_timeout": None,
            "retry": never_again(),
        }
        if self.password is not None:
            arguments["password"] = self.password
        return arguments | self.tls()

    def tls(self) -> dict[str, Any]:
        """Those of the arguments that are about TLS; there are some only where it is spoken."""
        return {} if self.tls_ca is None else {"ssl_ca_certs": self.tls_ca}


def never_again() -> Retry:
    """No retries.

    By default redis-py 8 repeats a command up to ten times, also one whose reply was lost: it
    executed an INCR twice. Who may repeat a call is for the caller to know.
    """
    return Retry(NoBackoff(), 0)


async def piped(server: Redis, commands: Iterable[Sequence[Any]]) -> list[Any]:
    """Send commands over one connection; returns their replies, errors among them."""
    pipeline = server.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    replies: list[Any] = await pipeline.execute(raise_on_error=False)
    return replies


async def connected(pool: ConnectionPool) -> AbstractConnection:
    """A new connection to a pool's server, apart from the pool: its owner is to disconnect it."""
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


class HiredisPool(ConnectionPool):
    """A pool whose connections pack commands by hiredis: it takes a fifth of redis-py's time."""

    def make_connection(self) -> AbstractConnection:
        """A new connection, not connected yet."""
        connection: AbstractConnection = super().make_connection()  # type: ignore[no-untyped-call]
        connection.pack_command = _pack  # type: ignore[method-assign,assignment]
        return connection


class Pool(HiredisPool, BlockingConnectionPool):
    """Connections to one server; who wants one waits while all are in use."""


def _pack(*args: str | bytes | float) -> list[bytes]:
    """A command as it is sent; a compound name (``SCRIPT FLUSH``) is two words of it."""
    name, *rest = args
    words = name.split() if isinstance(name, str) else [name]
    try:
        return [pack_command((*words, *rest))]
    except TypeError as exc:
        raise DataError(f"an argument that can't be sent: {exc}") from None


class OneServer:
    """One server, always the same.

    Args:
        pool: Connections to it.
    """

    def __init__(self, pool: HiredisPool) -> None:
        self.pool = pool
        self._server = Redis(connection_pool=pool)
        # redis-py has no types for this one.
        self.call: SendCommand = self._server.execute_command

    async def call_each(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """See `Servers`."""
        return await piped(self._server, commands)

    def slot(self, key: str) -> int:
        """See `Servers`."""
        del key
        return 0

    async def shard(self, key: str) -> str:
        """See `Servers`."""
        del key
        return ""

    async def link(self, shard: str) -> AbstractConnection:
        """See `Servers`."""
        del shard
        return await connected(self.pool)

    async def refresh(self) -> None:
        """See `Servers`."""

    async def ping(self) -> None:
        """See `Servers`."""
        await self.call("PING")

    async def close(self) -> None:
        """See `Servers`."""
        await self.pool.aclose()


def one_server(url: str, options: PoolOptions) -> OneServer:
    """The server at a ``redis://``, ``rediss://`` or ``unix://`` URL."""
    return OneServer(Pool.from_url(url, **options.arguments()))


class _Sentinels(Sentinel):
    """The Sentinels, asked for one connection at a time.

    redis-py moves the one that answers to the front of its list; two that do so at once overwrite
    another one, which is then never asked again.
    """

    def __init__(self, addresses: Sequence[tuple[str, int]], options: Mapping[str, Any]) -> None:
        super().__init__(addresses, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        self._asking = asyncio.Lock()

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """The address of the master."""
        async with self._asking:
            host, port = await super().discover_master(service_name)
        return host, port


class _MasterPool(SentinelConnectionPool, Pool):
    """Connections to the master: each asks the Sentinels who that is when it is made.

    When the answer is another one than before, the idle connections are closed; and so is one on
    which a server says that it is a replica.
    """


class SentinelMaster(OneServer):
    """The server that Sentinels name as the master.

    Args:
        pool: Connections to it.
        sentinels: The Sentinels.
    """

    def __init__(self, pool: _MasterPool, sentinels: _Sentinels) -> None:
        super().__init__(pool)
        self._master_pool = pool
        self._sentinels = sentinels

    async def refresh(self) -> None:
        """See `Servers`."""
        await self._master_pool.get_master_address()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """See `Servers`."""
        await super().close()
        await self._sentinels.aclose()


def sentinel_master(urls: Sequence[str], service: str, options: PoolOptions) -> SentinelMaster:
    """The master of a service.

    Args:
        urls: A plain URL of each Sentinel, with the user, password and database of the master.
        service: What the Sentinels call the master.
        options: Of the pool of connections to the master.
    """
    named: list[dict[str, Any]] = [dict(parse_url(url)) for url in urls]
    addresses = [(each.pop("host"), each.pop("port", _SENTINEL_PORT)) for each in named]
    given = named[0]
    tls = {"ssl": given.pop("connection_class", None) is SSLConnection, **options.tls()}
    tls.update({name: value for name, value in given.items() if name.startswith("ssl_")})
    # They are asked in turn, the last that answered first, within the time of one call: one that
    # hangs must leave the others, and the call itself, theirs.
    share = options.timeout / (len(addresses) + 1)
    sentinels = _Sentinels(
        addresses,
        {
            "username": given.pop("sentinel_username", None),
            "password": given.pop("sentinel_password", None),
            "protocol": 2,
            "socket_timeout": share,
            "socket_connect_timeout": share,
            "retry": never_again(),
            **tls,
        },
    )
    arguments = {**options.arguments(), **given, **tls, "redis_connect_func": _greet_master}
    pool = _MasterPool(service, sentinels, **arguments)  # type: ignore[no-untyped-call]
    return SentinelMaster(pool, sentinels)


async def _greet_master(connection: AbstractConnection) -> None:
    """Begin a connection; as the guidelines for clients of Sentinel have it, only to a master."""
    await connection.on_connect()
    await connection.send_command("ROLE")
    role, *_ = await connection.read_response()
    if role != b"master":
        raise RedisConnectionError("the Sentinels name a server as the master that is none")
