"""Plain aiohttp with ``schema.load``: what one writes without a framework, and writes well.

msgspec reads and writes the JSON, and no text is decoded that needn't be, as in Jackfield: the
difference that is left is the one that is to be measured.
"""

from typing import Any

import msgspec
import uvloop
from aiohttp import WSMsgType, web

from benchmarks.message import Message

from .listening import listen


class Envelope(msgspec.Struct):
    """What a message is wrapped in."""

    type: str
    id: int
    payload: dict[str, Any]


schema = Message()
decode = msgspec.json.Decoder(Envelope).decode
encode = msgspec.json.Encoder().encode


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Answer each message of one client with what the schema made of it."""
    socket = web.WebSocketResponse(compress=False, decode_text=False)
    await socket.prepare(request)
    async for message in socket:
        envelope = decode(message.data)
        payload = schema.load(envelope.payload)
        reply = encode({"type": "reply", "id": envelope.id, "payload": payload})
        await socket.send_frame(reply, WSMsgType.TEXT)
    return socket


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/ws", websocket)
    web.run_app(
        app,
        sock=listen(),
        loop=uvloop.new_event_loop(),
        access_log=None,
        print=None,
        shutdown_timeout=1,
    )
