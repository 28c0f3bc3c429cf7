"""python-socketio on aiohttp, with ``schema.load``: events that are acknowledged, and rooms.

With its Redis manager if ``BENCHMARK_REDIS`` is the address of a Redis. Every publication in flight
takes a connection of its own; past the most that redis-py allows, or ``--connections``, the manager
gives up all it has and makes new ones, over and over.
"""

import os
import sys
from typing import Any

import socketio  # type: ignore[import-untyped]
import uvloop
from aiohttp import web

from benchmarks.message import EVENT, JOIN, PUBLISH, TYPE, Message

from .listening import listen

schema = Message()
redis = os.environ.get("BENCHMARK_REDIS")
match sys.argv[1:]:
    case ["--connections", number]:
        options = {"max_connections": int(number)}
    case _:
        options = {}
# A channel of its own: what else is measured with this Redis is no part of the same service.
channel = f"socketio-{os.getpid()}"
server = socketio.AsyncServer(
    async_mode="aiohttp",
    client_manager=socketio.AsyncRedisManager(redis, channel, redis_options=options)
    if redis
    else None,
)


async def send(session: str, data: dict[str, Any]) -> Any:
    """Acknowledge with what the schema made of the payload."""
    return schema.load(data)


async def join(session: str, data: dict[str, Any]) -> Any:
    """Become a member of a room."""
    await server.enter_room(session, data["room"])
    return data


async def publish(session: str, data: dict[str, Any]) -> None:
    """Send what the schema made of the payload to all members of its room."""
    payload = schema.load(data)
    await server.emit(EVENT, payload, room=payload["room"])


if __name__ == "__main__":
    server.on(TYPE, send)
    server.on(JOIN, join)
    server.on(PUBLISH, publish)
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
