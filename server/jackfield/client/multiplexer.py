"""Many requests, streams and subscriptions over the one WebSocket of the Python client."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from copy import copy
from itertools import count
from typing import Any

from aiohttp import WSMsgType

from jackfield.wire.close_codes import CloseCode

from .errors import ConnectionClosed, EventsLost, RequestError, StreamBroken
from .inbox import Inbox
from .message import Message, encode
from .socket import ClientSocket, close_socket, protocol_violation, receive


class Multiplexer:
    """Sends the messages of many, and gives each incoming message to the one that waits for it.

    Args:
        socket: An open WebSocket whose welcome has been read.
        automatic_topics: The topics that the server has subscribed this connection to by itself.
        buffer_bytes: Bytes of messages that may wait for each reader.

    Attributes:
        closed: How the connection ended, None while it lives.
        closed_here: Whether it was closed at this end.
        events: The messages that are for no other inbox.
        topics: The inbox of each topic, by its name.
        subscribed: The topics that have a reader.
    """

    def __init__(
        self, socket: ClientSocket, automatic_topics: Collection[str], buffer_bytes: int
    ) -> None:
        self.automatic_topics = automatic_topics
        self.buffer_bytes = buffer_bytes
        self.closed: ConnectionClosed | None = None
        self.closed_here = False
        self.events = Inbox(buffer_bytes, EventsLost)
        self.topics: dict[str, Inbox] = {}
        self.subscribed: set[str] = set()
        self._socket = socket
        self._ids = count(1)
        self._inboxes: dict[int, Inbox] = {}
        self._goodbye: ConnectionClosed | None = None
        self._sends: set[asyncio.Task[None]] = set()
        self._reader = asyncio.create_task(self._read())

    async def request(
        self,
        message_type: str,
        payload: Mapping[str, Any] | None,
        timeout: float | None,  # noqa: ASYNC109 - the server is told when it runs out
    ) -> Message:
        """Send a request and return the payload of its reply, as `Client.request` documents."""
        async with asyncio.timeout(timeout), self.exchange(message_type, payload) as inbox:
            while (message := await inbox.get())["type"] == "chunk":
                pass
        return result(message)

    @asynccontextmanager
    async def exchange(
        self, message_type: str, payload: Mapping[str, Any] | None, inbox: Inbox | None = None
    ) -> AsyncIterator[Inbox]:
        """Send a request for the time of an `async with`, which gives the inbox of its answers.

        Leaving before the last answer has come cancels the request at the server.
        """
        id_ = next(self._ids)
        message = encode({"type": message_type, "id": id_, "payload": payload or {}})
        if inbox is None:
            inbox = Inbox(self.buffer_bytes, _chunks_lost)
        self._inboxes[id_] = inbox
        try:
            await self.send(message)
            yield inbox
        finally:
            if self._inboxes.pop(id_, None) is not None and self.closed is None:
                self._send_soon(encode({"type": "request.cancel", "payload": {"id": id_}}))

    async def send(self, message: bytes) -> None:
        """Send a message, and wait while the socket's buffers are full.

        Raises:
            ConnectionClosed: The connection has ended.
        """
        if self.closed is None:
            await asyncio.wait(
                {self._send_soon(message), self._reader}, return_when=asyncio.FIRST_COMPLETED
            )
        if self.closed is not None:
            raise copy(self.closed)

    def post(self, message_type: str, payload: Mapping[str, Any], inbox: Inbox) -> None:
        """Send a request without waiting; the answer goes to the inbox."""
        id_ = next(self._ids)
        self._inboxes[id_] = inbox
        self._send_soon(encode({"type": message_type, "id": id_, "payload": payload}))

    async def wait_closed(self) -> ConnectionClosed:
        """Wait for the end of the connection, and return how it ended."""
        await asyncio.wait({self._reader})
        return self._reader.result()

    async def close(self, code: int) -> None:
        """Close the connection, and end everything that waits on it."""
        if self.closed is None and not self.closed_here:
            self.closed_here = True
            self._goodbye = ConnectionClosed(code, "closed by this client", reconnect=False)
        await close_socket(self._socket, code)
        await asyncio.wait({self._reader, *self._sends})

    async def _read(self) -> ConnectionClosed:
        """Deliver what the server sends until the connection ends, and return how it ended."""
        try:
            while True:
                self._deliver(*await receive(self._socket))
        except ConnectionClosed as closed:
            self.closed = self._goodbye or closed
            for inbox in (*self._inboxes.values(), *self.topics.values(), self.events):
                inbox.end(self.closed)
            for send in self._sends:
                send.cancel()
            if closed.code == CloseCode.PROTOCOL_ERROR:  # it may be found here: tell the server
                await close_socket(self._socket, closed.code)
            return self.closed

    def _deliver(self, message: Message, size: int) -> None:
        """Put a message into the inbox it is for; drop one that nothing waits for any more."""
        inbox: Inbox | None
        match message:
            case (
                {"type": "event", "topic": str(topic), "offset": int(), "payload": dict()}
                | {"type": "presence", "topic": str(topic)}
                | {
                    "type": "error",
                    "id": None,
                    "error": {
                        "code": "unrecoverable",
                        "topic": str(topic),
                        "epoch": str(),
                        "offset": int(),
                    },
                }
            ):
                inbox = self.topics.get(topic, self.events)
            case {"type": "chunk", "id": int(id_), "seq": int(), "payload": dict()}:
                inbox = self._inboxes.get(id_)
            case {"type": "reply", "id": int(id_), "payload": dict()} | {
                "type": "error",
                "id": int(id_),
                "error": {"code": str(), "message": str()},
            }:
                inbox = self._inboxes.pop(id_, None)
            case {
                "type": "goodbye",
                "payload": {"code": int(code), "reason": str(reason)} as goodbye,
            }:
                self._goodbye = self._goodbye or ConnectionClosed(
                    code, reason, reconnect=goodbye.get("reconnect"), after=goodbye.get("after")
                )
                return
            case {"type": "chunk" | "reply" | "goodbye" as kind}:
                raise protocol_violation(f"a {kind} that lacks something")
            case {"type": str()}:
                inbox = self.events
            case _:
                raise protocol_violation("a message without a type")
        if inbox is not None:
            inbox.put(message, size)

    def _send_soon(self, message: bytes) -> asyncio.Task[None]:
        """Send a message in a task of its own, which a caller's cancellation does not reach.

        While the socket's buffers are full, all its writers wait for one future of aiohttp's, and
        cancelling one of them would cancel the others.
        """
        send = asyncio.create_task(self._send(message))
        self._sends.add(send)
        send.add_done_callback(self._sends.discard)
        return send

    async def _send(self, message: bytes) -> None:
        try:
            await self._socket.send_frame(message, WSMsgType.TEXT)
        except ConnectionError:
            await asyncio.wait({self._reader})  # the reader finds out how the connection ended


def result(answer: Message) -> Message:
    """Return the payload of a reply.

    Raises:
        RequestError: The answer is an error.
    """
    if answer["type"] == "error":
        raise RequestError(answer["error"])
    return dict(answer["payload"])


def _chunks_lost(dropped: int) -> StreamBroken:
    return StreamBroken(f"{dropped} chunks came faster than they were read, and were dropped.")
