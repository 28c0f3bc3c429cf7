"""One server under siege: its clients, what attackers are answered, and what the server says."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession

from jackfield.client import (
    Agent,
    Client,
    ConnectionClosed,
    ConnectionFailed,
    RequestError,
    Task,
    connect,
)
from tests.support.nodes import NodeProcess, impatient, serving
from tests.support.tokens import jwt_section, token

#: Bytes: of the embedded Valkey, and of a user's share: a siege must come to both in seconds.
MEMORY: Final = 64 * 2**20
KEPT: Final = 4 * 2**20
NEW_TOPICS: Final = 60
NAMES: Final = 5
QUEUE_SHARE: Final = 5
#: Seconds.
BOUND: Final = 10.0

_PLUGIN: Final = Path(__file__).with_name("halls.py")


class Answers:
    """What one row's requests were answered with.

    Attributes:
        accepted: How many were done.
        refused: How many were refused, by the code and the limit.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.refused: Counter[tuple[str, int | None]] = Counter()

    def of_code(self, code: str) -> int:
        """How many were refused with a code."""
        return sum(count for (each, _), count in self.refused.items() if each == code)


class Siege:
    """A server under siege.

    Args:
        node: Its process.
    """

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        #: How long attacks went on; known when they have ended.
        self.seconds = 0.0
        #: What was answered, by the names of rows.
        self.answers: dict[str, Answers] = {}
        #: Never set: what waits for it waits for as long as the siege goes on.
        self.forever = asyncio.Event()

    def connect(self, user: str, *scopes: str) -> AbstractAsyncContextManager[Client]:
        """Connect as a user."""
        return connect(self.node.url, token=token(sub=user, scope=" ".join(scopes)))

    def came_to_bounds(self, row: str) -> bool:
        """Whether a row has been refused anything yet."""
        return row in self.answers and bool(self.answers[row].refused)

    async def hammer(
        self, row: str, client: Client, message: str, payload: Mapping[str, Any]
    ) -> Any:
        """Send one request of a row, count its answer, and return the reply; None if refused."""
        answers = self.answers.setdefault(row, Answers())
        try:
            reply = await client.request(message, payload, timeout=BOUND)
        except RequestError as error:
            answers.refused[error.code, error.extra.get("limit")] += 1
            await asyncio.sleep(0.001)  # attackers share a machine with the server
            return None
        answers.accepted += 1
        return reply

    @asynccontextmanager
    async def attacker(self, user: str, *scopes: str) -> AsyncIterator[Client]:
        """A connection that ends with its attack, however that ends."""
        with contextlib.suppress(ConnectionClosed, ConnectionFailed):
            async with self.connect(user, *scopes) as client:
                yield client

    async def metrics(self) -> dict[str, float]:
        """What the server tells Prometheus."""
        async with ClientSession() as http, http.get(f"{self.node.address}/metrics") as response:
            lines = (await response.text()).splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in samples}


@asynccontextmanager
async def besieged(directory: Path) -> AsyncIterator[Siege]:
    """A server to lay siege to, with an honest agent; the directory is for its secret."""
    limits = {
        "kept_bytes": KEPT,
        "new_topics_per_minute": NEW_TOPICS,
        "publishes_per_second": 10_000,
        "requests_per_second": 10_000,
    }
    config = impatient(
        "embedded",
        auth__jwt=jwt_section(directory),
        limits=limits,
        agents={
            "ttl": "10s",
            "lease": "5s",
            "per_user": NAMES,
            "queue_per_user": QUEUE_SHARE,
        },
    )
    config["redis"] |= {"embedded_memory": MEMORY, "timeout": "2s"}
    async with serving(config, _PLUGIN) as node:
        agent = Agent("echo", node.url, token(sub="honest-agent", scope="agent"), capacity=10)

        @agent.skill("say")
        async def say(task: Task, data: dict[str, Any]) -> dict[str, Any]:
            return {"said": len(str(data))}

        async with agent.running():
            yield Siege(node)
