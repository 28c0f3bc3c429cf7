"""A server whose every word a test of the client speaks itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

WELCOME = {
    "type": "welcome",
    "payload": {"connection": "c1", "user": "alice", "protocol": 1, "heartbeat": 15, "limits": {}},
}

#: What a server does with a message, in the place of a test that receives it.
Answer = Callable[["Peer", dict[str, Any]], Awaitable[object]]


class Peer:
    """The server's end of one connection: what came, and what to send."""

    def __init__(self, request: web.Request, server: "Server") -> None:
        self.headers = request.headers
        self.socket = web.WebSocketResponse(protocols=["jackfield.v1"], max_msg_size=0)
        self.reads = asyncio.Event()
        self.reads.set()
        self._request = request
        self._server = server
        self._received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def read(self) -> None:
        """Read until the end, so that pings and closing are answered."""
        while True:
            await self.reads.wait()
            frame = await self.socket.receive()
            if frame.type is not WSMsgType.TEXT:
                return
            message = json.loads(frame.data)
            if self._server.answer is None:
                self._received.put_nowait(message)
            else:
                await self._server.answer(self, message)

    async def receive(self) -> dict[str, Any]:
        return await self._received.get()

    def received_nothing_more(self) -> bool:
        return self._received.empty()

    async def send(self, type_: str, **message: Any) -> None:
        await self.socket.send_str(json.dumps({"type": type_, **message}))

    def cut(self) -> None:
        """Lose the line."""
        if self._request.transport is not None:
            self._request.transport.abort()


class Server:
    """Where the client connects: what it is welcomed with, and who came."""

    def __init__(self) -> None:
        self.url = ""
        self.first: dict[str, Any] | None = WELCOME
        self.refuse: Callable[[], web.Response] | None = None
        self.on_welcome: Callable[[Peer], Awaitable[object]] | None = None
        self.answer: Answer | None = None
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.accepted: list[Peer] = []

    async def accept(self, request: web.Request) -> web.StreamResponse:
        if self.refuse is not None:
            return self.refuse()
        peer = Peer(request, self)
        self.accepted.append(peer)
        await peer.socket.prepare(request)
        if self.first is not None:
            await peer.socket.send_json(self.first)
        if self.on_welcome is not None:
            await self.on_welcome(peer)
        self.peers.put_nowait(peer)
        await peer.read()
        return peer.socket


@asynccontextmanager
async def serve() -> AsyncIterator[Server]:
    """Run a server; whoever is still connected at its end loses the line."""
    server = Server()
    app = web.Application()
    app.router.add_get("/ws", server.accept)
    async with TestServer(app) as running:
        server.url = str(running.make_url("/ws")).replace("http://", "ws://")
        try:
            yield server
        finally:
            for peer in server.accepted:
                peer.cut()
                peer.reads.set()


class Room:
    """The topic `room:lobby` of a server: what it answers about it, and what it keeps of it.

    Attributes:
        epoch: Which life of the topic this is.
        offset: The last event's.
        history: How many of its events are kept.
        refusal: The error that answers to subscribing now, if any.
        subscriptions: What each `topic.subscribe` carried.
    """

    def __init__(self) -> None:
        self.epoch = "e1"
        self.offset = 0
        self.history = 1000
        self.refusal: dict[str, Any] | None = None
        self.subscriptions: list[dict[str, Any]] = []
        self.members: set[Peer] = set()
        self._events: list[dict[str, Any]] = []

    @property
    def kept(self) -> list[dict[str, Any]]:
        return self._events[-self.history :] if self.history else []

    async def publish(self, payload: dict[str, Any]) -> None:
        self.offset += 1
        event = {"topic": "room:lobby", "offset": self.offset, "payload": payload}
        self._events.append({"type": "event", **event})
        await self.tell("event", **event)

    async def tell(self, type_: str, **message: Any) -> None:
        for peer in [*self.members]:
            with suppress(ConnectionError):
                await peer.send(type_, **message)

    async def answer(self, peer: Peer, message: dict[str, Any]) -> None:
        payload = message["payload"]
        match message["type"]:
            case "topic.subscribe":
                self.subscriptions.append(payload)
                if self.refusal is not None:
                    await peer.send("error", id=message["id"], error=self.refusal)
                    return
                reply = {"epoch": self.epoch, "offset": self.offset}
                reply |= self._recover(**payload["since"]) if "since" in payload else {}
                self.members.add(peer)
            case "topic.unsubscribe":
                self.members.discard(peer)
                reply = {}
            case "topic.presence":
                reply = {"members": [{"user": "alice", "connections": 1, "info": {}}], "count": 1}
            case _:
                reply = payload
        if "id" in message:
            await peer.send("reply", id=message["id"], payload=reply)

    def _recover(self, epoch: str, offset: int) -> dict[str, Any]:
        missed = self.offset - offset
        if epoch != self.epoch or not 0 <= missed <= len(self.kept):
            return {"recovered": False}
        return {"recovered": True, "events": self.kept[len(self.kept) - missed :]}
