"""Connections to Jackfield, by whose token they were made: each in the hands of one at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from jackfield.client import Client, connect

#: Connections that are kept for one token while nobody uses them: a user has no more than 100
#: at a server, and wants to connect otherwise too.
_IDLE_OF_A_TOKEN: Final = 2


class PoolFull(Exception):  # noqa: N818 - it names what happened
    """As many connections as may be are all in use."""


@dataclass(eq=False)
class Lease:
    """A connection, for as long as one request has it.

    Attributes:
        client: The connection.
        reusable: Whether somebody else may have it next; to be unset by whoever may leave
            something behind in it.
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
        self._room = size
        #: Those that nobody uses, the longest unused first.
        self._idle: list[tuple[str | None, Lease]] = []
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lease(self, token: str | None) -> AsyncIterator[Lease]:
        """Have a connection of this token's identity for the time of an `async with`.

        Args:
            token: What proves whose it is; None for an anonymous one.

        Raises:
            PoolFull: There is none, and no room for another.
            ConnectionFailed: The server was not reached, or refused.
            ConnectionClosed: The server closed the connection without a welcome.
        """
        lease = self._take(token) or await self._open(token)
        try:
            yield lease
        except BaseException:  # what was under way in it may be so still, cancelled or not
            lease.reusable = False
            raise
        finally:
            self._give_back(token, lease)

    async def close(self) -> None:
        """Close what nobody uses, and wait for what is closing."""
        for _, lease in self._idle:
            self._close(lease)
        self._idle.clear()
        await asyncio.gather(*self._closing)

    def _take(self, token: str | None) -> Lease | None:
        for place in reversed(range(len(self._idle))):
            whose, lease = self._idle[place]
            if lease.client.closed is not None:
                del self._idle[place]
                self._close(lease)
            elif whose == token:
                del self._idle[place]
                return lease
        return None

    async def _open(self, token: str | None) -> Lease:
        if not self._room:
            if not self._idle:
                raise PoolFull
            self._close(self._idle.pop(0)[1])
        self._room -= 1
        stack = AsyncExitStack()
        try:
            connecting = connect(self._url, token=token, timeout=self._timeout)
            return Lease(await stack.enter_async_context(connecting), _stack=stack)
        except BaseException:
            self._room += 1
            raise

    def _give_back(self, token: str | None, lease: Lease) -> None:
        own = [each for each in self._idle if each[0] == token]
        if lease.reusable and lease.client.closed is None and len(own) < _IDLE_OF_A_TOKEN:
            self._idle.append((token, lease))
        else:
            self._close(lease)

    def _close(self, lease: Lease) -> None:
        """Close a connection; whoever used it does not wait for that."""
        self._room += 1
        closing = asyncio.create_task(lease._stack.aclose())  # noqa: SLF001 - of this module
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
