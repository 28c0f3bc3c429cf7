"""The Python client: requests, streams, topics and events over one WebSocket.

    async with connect("ws://127.0.0.1:8080/ws", token=token) as client:
        await client.request("chat.send", {"room": "lobby", "text": "hi"})
        async with client.subscribe("room:lobby") as room:
            async for item in room:
                print(item)

It speaks `jackfield.v1` (JSON). A `Client` does not reconnect: `ConnectionClosed` says whether to
connect again, and after how long. `follow` reconnects by itself, for one topic, and so does
`Agent`, which serves tasks.
"""

from jackfield.wire.position import Position

from .agent.agent import Agent
from .agent.task import Task
from .connection import Client, connect
from .errors import (
    ConnectionClosed,
    ConnectionFailed,
    EventsLost,
    JackfieldError,
    Rejected,
    RequestError,
    StreamBroken,
)
from .events import Event, Gap, History, Presence
from .follow import follow
from .subscription import Subscription

__all__ = [
    "Agent",
    "Client",
    "ConnectionClosed",
    "ConnectionFailed",
    "Event",
    "EventsLost",
    "Gap",
    "History",
    "JackfieldError",
    "Position",
    "Presence",
    "Rejected",
    "RequestError",
    "StreamBroken",
    "Subscription",
    "Task",
    "connect",
    "follow",
]
