"""`Pool`: connections to Jackfield, kept by token, each used by one request at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from jackfield.client import Client, connect

#: Unused connections that are kept for one token: a user may have 100 at a server by default, and
#: wants to connect otherwise too.
_IDLE_OF_A_TOKEN: Final = 2


class PoolFull(Exception):  # noqa: N818 - it names what happened
    """All connections that there may be are in use."""


@dataclass(eq=False)
class Lease:
    """A connection, for as long as one request has it.

    Attributes:
        client: The connection.
        reusable: Whether another request may have it next; unset it where something may be left
            behind in it.
    """

    client: Client
    reusable: bool = True
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)


class Pool:
    """Connections to one server, bounded in number.

    Args:
        url: The address of the server's socket.
        size: How many there may be.
        timeout: Seconds until the server must have welcomed one.
    """

    def __init__(self, url: str, *, size: int, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        #: How many more there may be. One that is closing is not counted: nobody can use it.
        self._free = size
        #: Those that nobody uses, the longest unused first.
        self._idle: list[tuple[str | None, Lease]] = []
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lease(self, token: str | None) -> AsyncIterator[Lease]:
        """Have a connection with this token for the time of an `async with`.

        Args:
            token: What proves whose it is; None for an anonymous one.

        Raises:
            PoolFull: There is none, and there may be no other.
            ConnectionFailed: The server was not reached, or refused.
            ConnectionClosed: The server closed the connection without a welcome.
        """
        lease = self._take(token) or await self._open(token)
        try:
            yield lease
        except BaseException:  # what was under way in it may still be, cancelled or not
            lease.reusable = False
            raise
        finally:
            self._give_back(token, lease)

    async def close(self) -> None:
        """Close unused connections, and wait for all that are closing."""
        for _, lease in self._idle:
            self._close(lease)
        self._idle.clear()
        await asyncio.gather(*self._closing)

    def _take(self, token: str | None) -> Lease | None:
        for index in reversed(range(len(self._idle))):
            owner, lease = self._idle[index]
            if lease.client.closed is not None:
                del self._idle[index]
                self._close(lease)
            elif owner == token:
                del self._idle[index]
                return lease
        return None

    async def _open(self, token: str | None) -> Lease:
        if not self._free:
            if not self._idle:
                raise PoolFull
            self._close(self._idle.pop(0)[1])
        self._free -= 1
        stack = AsyncExitStack()
        try:
            connecting = connect(self._url, token=token, timeout=self._timeout)
            return Lease(await stack.enter_async_context(connecting), _stack=stack)
        except BaseException:
            self._free += 1
            raise

    def _give_back(self, token: str | None, lease: Lease) -> None:
        own = [each for each in self._idle if each[0] == token]
        if lease.reusable and lease.client.closed is None and len(own) < _IDLE_OF_A_TOKEN:
            self._idle.append((token, lease))
        else:
            self._close(lease)

    def _close(self, lease: Lease) -> None:
        """Close a connection, in the background: its request need not wait for that."""
        self._free += 1
        closing = asyncio.create_task(lease._stack.aclose())  # noqa: SLF001 - of this module
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
