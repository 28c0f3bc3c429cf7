"""What a subscription takes of Jackfield's memory.

The server counts what it has allocated (`tracemalloc`): what is resident grows by a whole arena of
Python's, a megabyte, and hides in what others left, which is more than thousands of subscriptions.
"""

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Final

from .load.client import Client, close_all
from .message import MEMORY, PAYLOAD, TYPE
from .servers import JACKFIELD, BenchmarkError, running
from .wire import JACKFIELD as DIALECT
from .wire import WireError

CONNECTIONS: Final = 2_000
#: How the connections share topics: the room of each, by its number.
SHARES: Final[dict[str, Callable[[int], str]]] = {
    "to one topic each, with 20 others": lambda number: f"group-{number // 21}",
    "to one topic, with all others": lambda _: "lobby",
}
#: Seconds until the server has done what it does later: to write to Redis, say.
_SETTLING: Final = 1.0
#: Allocations are counted; and no timer of a connection runs out in between, which changes them.
_SETTINGS: Final = {
    "PYTHONTRACEMALLOC": "1",
    "JACKFIELD__CONNECTIONS__HEARTBEAT": "5m",
    "JACKFIELD__CONNECTIONS__TTL": "15m",
    "JACKFIELD__LIMITS__WRITE_TIMEOUT": "5m",
}


def bytes_per_subscription(room_of: Callable[[int], str], core: int | None) -> float:
    """Start a server, connect, subscribe, and see how much its memory grows by subscribing.

    Args:
        room_of: The room whose topic a connection subscribes to, by the connection's number.
        core: Where the server runs; None for anywhere.

    Raises:
        BenchmarkError: It does not start, or answers wrongly.
    """
    with running(JACKFIELD, core, settings=_SETTINGS) as server, contextlib.ExitStack() as stack:
        try:
            clients = [Client(server.port, DIALECT) for _ in range(CONNECTIONS + 1)]
            stack.callback(close_all, clients)
            observer = clients.pop()
            observer.join("another")  # what only the first subscription needs is there then
            before = _allocated(observer, clients)
            for number, client in enumerate(clients):
                client.join(room_of(number))
            return (_allocated(observer, clients) - before) / CONNECTIONS
        except (WireError, OSError) as exc:
            raise BenchmarkError(f"{JACKFIELD.title} failed: {type(exc).__name__}: {exc}") from exc


def _allocated(observer: Client, clients: Iterable[Client]) -> int:
    for client in clients:  # a server may keep something of a connection's last message
        client.ask(TYPE, PAYLOAD)
    time.sleep(_SETTLING)
    return int(observer.ask(MEMORY, {})["bytes"])
