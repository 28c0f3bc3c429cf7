"""The Python client: requests, streams and events over one WebSocket.

    async with connect("ws://127.0.0.1:8080/ws", token=token) as client:
        await client.request("chat.send", {"room": "lobby", "text": "hi"})
        async for message in client.events():
            print(message["topic"], message["payload"])

It speaks `jackfield.v1` (JSON) and leaves one thing to its user, to connect again:
`ConnectionClosed` says whether to, and after how long.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from copy import copy
from itertools import count
from typing import Any, Final

from aiohttp import ClientSession, ClientTimeout, WSMsgType

from .client_errors import (
    ConnectionClosed,
    ConnectionFailed,
    EventsLost,
    RequestError,
    StreamBroken,
)
from .client_socket import Message, Socket, encode, misspoken, part, receive, refusal, shake_hands
from .errors import CloseCode

__all__ = [
    "Client",
    "ConnectionClosed",
    "ConnectionFailed",
    "EventsLost",
    "RequestError",
    "StreamBroken",
    "connect",
]

#: Bytes on the wire that wait for one reader; a server queues as many for a whole connection.
BUFFER_BYTES: Final = 2**20


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = 10.0,  # noqa: ASYNC109 - it bounds the opening, not the body
    subprotocol: str = "jackfield.v1",
    buffer_bytes: int = BUFFER_BYTES,
) -> AsyncIterator["Client"]:
    """Connect to a server for the time of an `async with`, which gives a `Client`.

    Args:
        url: The address of the socket, `ws://` or `wss://`.
        token: What proves who this is, sent as `Authorization: Bearer`.
        headers: Further headers of the handshake.
        timeout: Seconds until the server must have welcomed this client, None for no limit.
        subprotocol: The version of the protocol to ask for; this client reads and writes JSON.
        buffer_bytes: Bytes of messages that may wait for the reader of the events, and as many
            again for the reader of each stream. What does not fit is dropped, and that is told.

    Raises:
        ConnectionFailed: The server was not reached, or refused.
        ConnectionClosed: The server closed the connection without a welcome.
    """
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    # The timeout below covers the whole of the opening, so the session needs none.
    async with ClientSession(timeout=ClientTimeout(), middlewares=[refusal]) as session:
        try:
            async with asyncio.timeout(timeout):
                socket, welcome = await shake_hands(session, url, sent, subprotocol)
        except TimeoutError as error:
            raise ConnectionFailed(
                None, f"The server did not welcome this client within {timeout:g} s."
            ) from error
        client = Client(socket, welcome, buffer_bytes)
        try:
            yield client
        finally:
            await client.close()


class Client:
    """A connection that the server has welcomed; `connect` makes it.

    Attributes:
        welcome: The payload of the server's welcome: `connection`, `user`, `limits` and more.
        closed: How the connection ended, None while it lives.
    """

    def __init__(self, socket: Socket, welcome: Message, buffer_bytes: int) -> None:
        self.welcome = welcome
        self.closed: ConnectionClosed | None = None
        self._socket = socket
        self._buffer_bytes = buffer_bytes
        self._ids = count(1)
        self._inboxes: dict[int, _Inbox] = {}
        self._events = _Inbox(buffer_bytes, EventsLost)
        self._farewell: ConnectionClosed | None = None
        self._leaving = False
        self._sending: set[asyncio.Task[None]] = set()
        self._reader = asyncio.create_task(self._read())

    @property
    def connection(self) -> str:
        """The id that the server knows this connection by."""
        return str(self.welcome["connection"])

    async def request(
        self,
        message_type: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - running out of it is told to the server
    ) -> Message:
        """Send a message and wait for its reply; chunks on the way to it are skipped.

        To be cancelled here, or to run out of time, cancels the request at the server too.

        Args:
            message_type: A registered message type.
            payload: What it carries, anything that msgspec writes as JSON.
            timeout: Seconds to wait, None for as long as it takes.

        Returns:
            The payload of the reply.

        Raises:
            RequestError: The server answered with an error.
            ConnectionClosed: The connection has ended, perhaps before the reply.
            TimeoutError: The reply did not come in time.
        """
        async with asyncio.timeout(timeout), self._exchange(message_type, payload) as inbox:
            while (message := await inbox.get())["type"] == "chunk":
                pass
        if message["type"] == "error":
            raise RequestError(message["error"])
        return dict(message["payload"])

    async def stream(
        self,
        message_type: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - running out of it is told to the server
    ) -> AsyncGenerator[Message, None]:
        """Send a message and iterate over the payloads of the chunks that answer it.

        Nothing is sent before the first step, and the final reply only ends the iteration. To
        leave early cancels the request at the server; `contextlib.aclosing` has that happen at
        once, and not when Python comes to it.

        Args:
            message_type: A registered message type.
            payload: What it carries, anything that msgspec writes as JSON.
            timeout: Seconds to wait for each next chunk, None for as long as it takes.

        Raises:
            RequestError: The server answered with an error, perhaps after some chunks.
            StreamBroken: Chunks were read too slowly (see `buffer_bytes`), or one is missing.
            ConnectionClosed: The connection has ended, perhaps before the stream.
            TimeoutError: The next chunk did not come in time.
        """
        answers = self.answers(message_type, payload, timeout=timeout)
        async with aclosing(answers):
            async for message in answers:
                if message["type"] == "chunk":
                    yield message["payload"]

    async def answers(
        self,
        message_type: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - running out of it is told to the server
    ) -> AsyncGenerator[Message, None]:
        """Send a message and iterate over all that answers it: chunks, if any, then the reply.

        As `stream`, for whoever can't tell beforehand how a type answers. Each is whole, as it
        stands on the wire.

        Args:
            message_type: A registered message type.
            payload: What it carries, anything that msgspec writes as JSON.
            timeout: Seconds to wait for each next answer, None for as long as it takes.

        Raises:
            RequestError: The server answered with an error, perhaps after some chunks.
            StreamBroken: Chunks were read too slowly (see `buffer_bytes`), or one is missing.
            ConnectionClosed: The connection has ended, perhaps before the reply.
            TimeoutError: The next answer did not come in time.
        """
        async with self._exchange(message_type, payload) as inbox:
            for due in count():
                async with asyncio.timeout(timeout):
                    message = await inbox.get()
                if message["type"] != "chunk":
                    break
                if message["seq"] != due:
                    raise StreamBroken(f"Chunk {message['seq']} came where {due} was due.")
                yield message
        if message["type"] == "error":
            raise RequestError(message["error"])
        yield message

    async def send(self, message_type: str, payload: Mapping[str, Any] | None = None) -> None:
        """Send a message that wants no reply; an error it causes comes among the events.

        Raises:
            ConnectionClosed: The connection has ended.
        """
        await self._send(encode({"type": message_type, "payload": payload or {}}))

    async def events(self) -> AsyncGenerator[Message, None]:
        """Iterate over the messages that answer nothing, each whole as it stands on the wire.

        Those are events, presence, and errors whose `id` is null. They wait for their reader up to
        `buffer_bytes`. The iteration ends when this client closes the connection.

        Raises:
            EventsLost: Events were read too slowly; this is where some are missing.
            ConnectionClosed: The server closed the connection, or the line was lost.
        """
        while True:
            try:
                message = await self._events.get()
            except ConnectionClosed:
                if self._leaving:
                    return
                raise
            yield message

    async def wait_closed(self) -> ConnectionClosed:
        """Wait for the end of the connection, and return how it ended."""
        await asyncio.wait({self._reader})
        return self._reader.result()

    async def close(self, code: int = CloseCode.OK) -> None:
        """Close the connection; what still waits for an answer raises `ConnectionClosed`.

        Args:
            code: What the server is told: 1000, or 3000 to 4999 for reasons of one's own.
        """
        if self.closed is None and not self._leaving:
            self._leaving = True
            self._farewell = ConnectionClosed(code, "closed by this client", reconnect=False)
        await part(self._socket, code)
        await asyncio.wait({self._reader, *self._sending})

    async def _read(self) -> ConnectionClosed:
        """Hand out what the server sends until the connection ends, and return how it ended."""
        try:
            while True:
                self._hand_out(*await receive(self._socket))
        except ConnectionClosed as closed:
            self.closed = self._farewell or closed
            for inbox in (*self._inboxes.values(), self._events):
                inbox.end(self.closed)
            for sending in self._sending:
                sending.cancel()
            if closed.code == CloseCode.PROTOCOL_ERROR:  # found at this end, perhaps
                await part(self._socket, closed.code)
            return self.closed

    def _hand_out(self, message: Message, size: int) -> None:
        """Put a message into the inbox it is for; one that nobody waits for any more is dropped."""
        match message:
            case {"type": "chunk", "id": int(id_), "seq": int(), "payload": dict()}:
                inbox = self._inboxes.get(id_)
            case {"type": "reply", "id": int(id_), "payload": dict()} | {
                "type": "error",
                "id": int(id_),
                "error": {"code": str(), "message": str()},
            }:
                inbox = self._inboxes.pop(id_, None)
            case {"type": "goodbye", "payload": {"code": int(code), "reason": str(reason)} as bye}:
                self._farewell = self._farewell or ConnectionClosed(
                    code, reason, reconnect=bye.get("reconnect"), after=bye.get("after")
                )
                return
            case {"type": "chunk" | "reply" | "goodbye" as kind}:
                raise misspoken(f"a {kind} that lacks something")
            case {"type": str()}:
                inbox = self._events
            case _:
                raise misspoken("a message without a type")
        if inbox is not None:
            inbox.put(message, size)

    @asynccontextmanager
    async def _exchange(
        self, message_type: str, payload: Mapping[str, Any] | None
    ) -> AsyncIterator["_Inbox"]:
        """Send a request and lend the inbox of its answers; to leave before the last cancels it."""
        id_ = next(self._ids)
        message = encode({"type": message_type, "id": id_, "payload": payload or {}})
        self._inboxes[id_] = inbox = _Inbox(self._buffer_bytes, _overrun)
        try:
            await self._send(message)
            yield inbox
        finally:
            if self._inboxes.pop(id_, None) is not None and self.closed is None:
                self._post(encode({"type": "request.cancel", "payload": {"id": id_}}))

    async def _send(self, message: bytes) -> None:
        """Send a message, and wait while the line is full."""
        if self.closed is None:
            await asyncio.wait(
                {self._post(message), self._reader}, return_when=asyncio.FIRST_COMPLETED
            )
        if self.closed is not None:
            raise copy(self.closed)

    def _post(self, message: bytes) -> asyncio.Task[None]:
        """Send a message from a task of its own, which no caller's cancellation reaches.

        All writers of a full line wait for one future of aiohttp's, and one that is cancelled
        there takes the others with it.
        """
        sending = asyncio.create_task(self._transmit(message))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        return sending

    async def _transmit(self, message: bytes) -> None:
        try:
            await self._socket.send_frame(message, WSMsgType.TEXT)
        except ConnectionError:
            await asyncio.wait({self._reader})  # the reader finds out how the connection ended


class _Inbox:
    """The messages that have come for one reader and wait for it.

    It never makes the socket wait: one slow reader would hold up the answers of everybody else, of
    its own next request too. So it is bounded in bytes, and what does not fit is counted and told
    where it is missing.
    """

    def __init__(self, limit: int, lost: Callable[[int], Exception]) -> None:
        self._limit = limit
        self._lost = lost
        self._messages: deque[tuple[Message, int]] = deque()
        self._bytes = 0
        self._dropped = 0
        self._end: ConnectionClosed | None = None
        self._news = asyncio.Event()

    def put(self, message: Message, size: int) -> None:
        fits = not self._messages or self._bytes + size <= self._limit
        if fits and not self._dropped:  # behind a gap there is nothing until it has been told
            self._messages.append((message, size))
            self._bytes += size
        else:
            self._dropped += 1
        self._news.set()

    def end(self, closed: ConnectionClosed) -> None:
        self._end = closed
        self._news.set()

    async def get(self) -> Message:
        while not self._messages:
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                raise self._lost(dropped)
            if self._end is not None:
                raise copy(self._end)  # each who raises it has a traceback of their own
            self._news.clear()
            await self._news.wait()
        message, size = self._messages.popleft()
        self._bytes -= size
        return message


def _overrun(dropped: int) -> StreamBroken:
    return StreamBroken(f"{dropped} chunks came faster than they were read, and were dropped.")
