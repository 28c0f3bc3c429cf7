"""python-socketio on aiohttp, with ``schema.load``: an event that is acknowledged."""

from typing import Any

import socketio  # type: ignore[import-untyped]
import uvloop
from aiohttp import web

from benchmarks.message import TYPE, Message

from .listening import listen

schema = Message()
server = socketio.AsyncServer(async_mode="aiohttp")


async def send(session: str, data: dict[str, Any]) -> Any:
    """Acknowledge with what the schema made of the payload."""
    return schema.load(data)


if __name__ == "__main__":
    server.on(TYPE, send)
    app = web.Application()
    server.attach(app)
    web.run_app(
        app,
        sock=listen(),
        loop=uvloop.new_event_loop(),
        access_log=None,
        print=None,
        shutdown_timeout=1,
    )
