"""The Python client: requests, streams, topics and events over one WebSocket.

    async with connect("ws://127.0.0.1:8080/ws", token=token) as client:
        await client.request("chat.send", {"room": "lobby", "text": "hi"})
        async with client.subscribe("room:lobby") as room:
            async for item in room:
                print(item)

It speaks `jackfield.v1` (JSON). A connection that is lost stays lost: `ConnectionClosed` says
whether to connect again, and after how long. `follow` does that by itself, for one topic. `Agent`
does too: it is for those who are called.
"""

from .client_agent import Agent
from .client_agent_skill import Rejected
from .client_agent_task import Task
from .client_connection import Client, connect
from .client_errors import (
    ConnectionClosed,
    ConnectionFailed,
    EventsLost,
    RequestError,
    StreamBroken,
)
from .client_follow import follow
from .client_subscription import Event, Gap, History, Presence, Subscription
from .topic import Position

__all__ = [
    "Agent",
    "Client",
    "ConnectionClosed",
    "ConnectionFailed",
    "Event",
    "EventsLost",
    "Gap",
    "History",
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
