"""A line to Redis that can fail: cut, refused, silent, late, or broken just after a request ran."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import hiredis

_CHUNK = 65_536


class Proxy:
    """Forwards connections to one Redis, and does to them what networks do; `proxied` runs it.

    It reads along, so that a fault can be had for some connections only: for those that have sent
    a command, say ``SSUBSCRIBE``, and so are a pub/sub link.

    Args:
        upstream: The address of the Redis: ``redis://host:port`` or ``unix://path``.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._refusing = False
        self._swallowed: list[str | None] = []
        self._lags: dict[str, float] = {}
        self._lag = 0.0
        self._lost: list[tuple[bytes, asyncio.Event]] = []
        #: The port it listens on, on 127.0.0.1.
        self.port = 0

    @property
    def url(self) -> str:
        """Where it stands in for the Redis."""
        return f"redis://127.0.0.1:{self.port}"

    def connections(self, command: str | None = None) -> int:
        """How many connections there are, or how many of them have sent a command."""
        return sum(link.has_sent(command) for link in self._links)

    def cut(self, command: str | None = None) -> int:
        """Break all connections, or those that have sent a command; return how many."""
        found = [link for link in self._links if link.has_sent(command)]
        for link in found:
            link.cut()
        return len(found)

    def refuse(self) -> None:
        """Break every new connection as soon as it is made."""
        self._refusing = True

    def accept(self) -> None:
        """Take new connections again."""
        self._refusing = False

    def strand(self, command: str | None = None) -> int:
        """Swallow what is sent on the present connections, or on those that have sent a command.

        As in a `black_hole`, into which new connections do not fall.

        Returns:
            How many connections that are.
        """
        found = [link for link in self._links if link.has_sent(command)]
        for link in found:
            link.stranded = True
        return len(found)

    def black_hole(self, command: str | None = None) -> None:
        """Swallow what is sent on all connections, or on those that have sent a command.

        Both directions go silent and stay open, whatever happens at the other end. New connections
        fare the same, until `heal`.
        """
        self._swallowed.append(command)

    def heal(self) -> None:
        """Accept and forward again; connections that have had something swallowed are broken."""
        self.accept()
        self._swallowed.clear()
        for link in self._links:
            if link.has_lost:
                link.cut()

    def lag(self, seconds: float, command: str | None = None) -> None:
        """Have what Redis sends come later from now on, in its order.

        Args:
            seconds: By how much; 0 for no later than it is sent.
            command: Only on connections that have sent this; on these, no other lag counts.
        """
        if command is None:
            self._lag = seconds
        else:
            self._lags[command] = seconds

    def cut_after_request(self, match: bytes) -> asyncio.Event:
        """Let the next request with this in an argument run, then break its connection, once.

        The server has replied by then, and the reply is lost. To be told that it does not know a
        script is no reply: nothing has run, and the request after that is it.

        Returns:
            What is set once it has happened.
        """
        happened = asyncio.Event()
        self._lost.append((match, happened))
        return happened

    def swallows(self, link: "_Link") -> bool:
        """Whether what is sent on a connection goes nowhere."""
        return link.stranded or any(link.has_sent(command) for command in self._swallowed)

    def lag_of(self, link: "_Link") -> float:
        """How many seconds later comes what Redis sends on a connection."""
        lags = (lag for command, lag in self._lags.items() if link.has_sent(command))
        return next(lags, self._lag)

    def loses(self, request: list[bytes]) -> asyncio.Event | None:
        """What to set if the reply to a request is to be lost; None if it isn't."""
        for match, happened in self._lost:
            if any(match in argument for argument in request):
                return happened
        return None

    def has_lost(self, happened: asyncio.Event) -> None:
        """A reply that was to be lost has been."""
        self._lost = [entry for entry in self._lost if entry[1] is not happened]
        happened.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        if self._refusing:
            writer.transport.abort()
            return
        try:
            upstream = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, (reader, writer), upstream)
        self._links[link] = task
        try:
            await link.run()
        finally:
            del self._links[link]

    async def close(self) -> None:
        """Break all connections, and wait until they have ended."""
        tasks = set(self._links.values())
        self.cut()
        if tasks:
            await asyncio.wait(tasks)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._upstream.scheme == "unix":
            return await asyncio.open_unix_connection(self._upstream.path)
        return await asyncio.open_connection(self._upstream.hostname, self._upstream.port)


class _Link:
    """One connection through the proxy: what has been sent on it, and what it still waits for."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._requests = hiredis.Reader()
        self._replies = hiredis.Reader()
        self._commands: set[str] = set()
        #: For each request without a reply yet what to set if that is to be lost. Messages of a
        #: subscription aren't replies: there, nothing can be lost this way.
        self._due: deque[asyncio.Event | None] = deque()
        #: Whether all that comes is swallowed, whatever becomes of other connections.
        self.stranded = False
        #: Whether something has been swallowed.
        self.has_lost = False

    def has_sent(self, command: str | None) -> bool:
        return command is None or command in self._commands

    def cut(self) -> None:
        self._client[1].transport.abort()
        self._server[1].transport.abort()

    async def run(self) -> None:
        pumps = (
            asyncio.create_task(self._pump(self._client[0], self._server[1], self._note_requests)),
            asyncio.create_task(self._pump(self._server[0], self._client[1], self._note_replies)),
        )
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        note: Callable[[bytes], bool],
    ) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                passes = note(chunk)
                if self._proxy.swallows(self):
                    self.has_lost = True
                elif passes:
                    if reader is self._server[0] and (lag := self._proxy.lag_of(self)):
                        await asyncio.sleep(lag)
                    writer.write(chunk)
                    await writer.drain()
                else:
                    return
        if reader is self._server[0] and self._proxy.swallows(self):
            await asyncio.Event().wait()  # until the client goes, or is cut off

    def _note_requests(self, chunk: bytes) -> bool:
        """Read requests along; all of them pass."""
        self._requests.feed(chunk)
        while (request := self._requests.gets()) is not False:
            self._commands.add(request[0].decode().upper())
            self._due.append(self._proxy.loses(request))
        return True

    def _note_replies(self, chunk: bytes) -> bool:
        """Read replies along; False if one of them is to be lost, and the connection with it."""
        self._replies.feed(chunk)
        while (reply := self._replies.gets()) is not False:
            happened = self._due.popleft() if self._due else None
            is_unknown = isinstance(reply, hiredis.ReplyError) and "NOSCRIPT" in str(reply)
            if happened is not None and not is_unknown:
                self._proxy.has_lost(happened)
                return False
        return True


@asynccontextmanager
async def proxied(upstream: str) -> AsyncIterator[Proxy]:
    """Run a proxy to a Redis on a free port of 127.0.0.1 while the context lasts.

    Args:
        upstream: The address of the Redis: ``redis://host:port`` or ``unix://path``.
    """
    proxy = Proxy(upstream)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
