"""The traffic of one connection of the Python client: what goes out, and who gets what comes in."""

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
from .socket import Message, Socket, encode, misspoken, part, receive


class Link:
    """A socket that many write to and many read from, each their own.

    Args:
        socket: One that the server has sent its welcome through.
        given_topics: The topics that the server has subscribed this connection to by itself.
        buffer_bytes: Bytes that may wait for each reader.

    Attributes:
        closed: How the connection ended, None while it lives.
        leaving: Whether it was this end that closed it.
        events: What belongs to nobody else.
        topics: What belongs to a topic, by its name.
        subscribed: The topics that have a reader.
    """

    def __init__(self, socket: Socket, given_topics: Collection[str], buffer_bytes: int) -> None:
        self.given_topics = given_topics
        self.buffer_bytes = buffer_bytes
        self.closed: ConnectionClosed | None = None
        self.leaving = False
        self.events = Inbox(buffer_bytes, EventsLost)
        self.topics: dict[str, Inbox] = {}
        self.subscribed: set[str] = set()
        self._socket = socket
        self._ids = count(1)
        self._inboxes: dict[int, Inbox] = {}
        self._farewell: ConnectionClosed | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._reader = asyncio.create_task(self._read())

    async def request(
        self,
        message_type: str,
        payload: Mapping[str, Any] | None,
        timeout: float | None,  # noqa: ASYNC109 - running out of it is told to the server
    ) -> Message:
        """Send a request and return the payload of its reply; `Client.request` says the rest."""
        async with asyncio.timeout(timeout), self.exchange(message_type, payload) as inbox:
            while (message := await inbox.get())["type"] == "chunk":
                pass
        return result(message)

    @asynccontextmanager
    async def exchange(
        self, message_type: str, payload: Mapping[str, Any] | None, inbox: Inbox | None = None
    ) -> AsyncIterator[Inbox]:
        """Send a request and lend the inbox of its answers; to leave before the last cancels it."""
        id_ = next(self._ids)
        message = encode({"type": message_type, "id": id_, "payload": payload or {}})
        if inbox is None:
            inbox = Inbox(self.buffer_bytes, _overrun)
        self._inboxes[id_] = inbox
        try:
            await self.send(message)
            yield inbox
        finally:
            if self._inboxes.pop(id_, None) is not None and self.closed is None:
                self._send_soon(encode({"type": "request.cancel", "payload": {"id": id_}}))

    async def send(self, message: bytes) -> None:
        """Send a message, and wait while the line is full."""
        if self.closed is None:
            await asyncio.wait(
                {self._send_soon(message), self._reader}, return_when=asyncio.FIRST_COMPLETED
            )
        if self.closed is not None:
            raise copy(self.closed)

    def post(self, message_type: str, payload: Mapping[str, Any], inbox: Inbox) -> None:
        """Send a request without waiting for anything; the inbox is given the answer."""
        id_ = next(self._ids)
        self._inboxes[id_] = inbox
        self._send_soon(encode({"type": message_type, "id": id_, "payload": payload}))

    async def wait_closed(self) -> ConnectionClosed:
        """Wait for the end of the connection, and return how it ended."""
        await asyncio.wait({self._reader})
        return self._reader.result()

    async def close(self, code: int) -> None:
        """Close the connection, and end all that waits for it."""
        if self.closed is None and not self.leaving:
            self.leaving = True
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
            for inbox in (*self._inboxes.values(), *self.topics.values(), self.events):
                inbox.end(self.closed)
            for sending in self._sending:
                sending.cancel()
            if closed.code == CloseCode.PROTOCOL_ERROR:  # found at this end, perhaps
                await part(self._socket, closed.code)
            return self.closed

    def _hand_out(self, message: Message, size: int) -> None:
        """Put a message into the inbox it is for; one that nobody waits for any more is dropped."""
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
            case {"type": "goodbye", "payload": {"code": int(code), "reason": str(reason)} as bye}:
                self._farewell = self._farewell or ConnectionClosed(
                    code, reason, reconnect=bye.get("reconnect"), after=bye.get("after")
                )
                return
            case {"type": "chunk" | "reply" | "goodbye" as kind}:
                raise misspoken(f"a {kind} that lacks something")
            case {"type": str()}:
                inbox = self.events
            case _:
                raise misspoken("a message without a type")
        if inbox is not None:
            inbox.put(message, size)

    def _send_soon(self, message: bytes) -> asyncio.Task[None]:
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


def result(answer: Message) -> Message:
    """The payload of a reply; an error is raised as `RequestError`."""
    if answer["type"] == "error":
        raise RequestError(answer["error"])
    return dict(answer["payload"])


def _overrun(dropped: int) -> StreamBroken:
    return StreamBroken(f"{dropped} chunks came faster than they were read, and were dropped.")
