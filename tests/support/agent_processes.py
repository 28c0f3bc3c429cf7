"""Nodes and agents in processes of their own, for tests to hold still and kill."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession

from jackfield.client import Client
from tests.support import tokens
from tests.support.nodes import NodeProcess, impatient, serving
from tests.support.waiting import wait_until

PROGRAM: Final = Path(__file__).with_name("agent_program.py")
#: Seconds until an agent serves: one takes less, several at once on a busy machine some more.
_START_TIMEOUT: Final = 30.0
#: A test asks faster than anybody may by default.
_BUSY: Final = {"requests_per_second": 100_000}


class AgentProcess:
    """An instance of the agent ``counter`` that was registered; `working` starts it.

    Args:
        process: What runs.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id, which its outputs have, too."""
        return self._process.pid

    async def kill(self) -> None:
        """End it at once, as ``kill -9`` does, and wait until it has ended."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


class Gate:
    """What tells counters to go on.

    Args:
        folder: Where they look.
        to: How far they count.
        gates: Where they wait, until `open`.
    """

    def __init__(self, folder: Path, to: int, *gates: int) -> None:
        self._folder = folder
        self._gates = [*gates]
        self.input = {"folder": str(folder), "to": to, "gates": gates}

    def open(self) -> None:
        """Let all that wait at the next gate go on."""
        (self._folder / str(self._gates.pop(0))).touch()


@asynccontextmanager
async def agent_nodes(
    folder: Path, urls: Sequence[str], lease: str = "2s"
) -> AsyncIterator[list[NodeProcess]]:
    """Run servers that are soon to find an instance dead.

    Args:
        folder: Where their secret may be.
        urls: For each the address of its Redis.
        lease: How long an instance keeps its tasks without a sign of life.
    """
    section = tokens.jwt_section(folder)
    async with AsyncExitStack() as stack:
        sections = {"agents": {"lease": lease}, "auth__jwt": section, "limits": _BUSY}
        configs = [impatient(url, **sections) for url in urls]
        starting = [stack.enter_async_context(serving(config)) for config in configs]
        nodes = list(await asyncio.gather(*starting))
        for node in nodes:
            await wait_until(node.is_ready)
        yield nodes


@asynccontextmanager
async def working(node: NodeProcess, capacity: int = 1) -> AsyncIterator[AgentProcess]:
    """Run an instance of the agent ``counter`` while the context lasts."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, PROGRAM, node.url, agent_token(), f"{capacity}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    agent = AgentProcess(process)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_START_TIMEOUT):
            assert await process.stdout.readline() == b"registered\n"
        yield agent
    finally:
        await agent.kill()


def agent_token() -> str:
    """What an agent shows."""
    return tokens.token(sub="worker", scope="agent")


@asynccontextmanager
async def user(node: NodeProcess, name: str = "alice") -> AsyncIterator[Client]:
    """A connection of a caller, or of whoever else may see a task."""
    async with node.connect(token=tokens.token(sub=name)) as client:
        yield client


async def metric(node: NodeProcess, name: str) -> float:
    """What a node counts."""
    async with ClientSession() as http, http.get(f"{node.address}/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def counters(client: Client) -> dict[str, Any]:
    """What is told of the agent ``counter``; a node may know it from a second ago."""
    agents = (await client.request("agent.list"))["agents"]
    return next((dict(agent) for agent in agents if agent["name"] == "counter"), {})


class Puppet:
    """An instance of an agent whose every word a test says.

    Args:
        client: Its connection.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        #: What it is told, whole messages.
        self.orders = client.events()
        #: Which instance it is, once it has registered.
        self.instance = ""

    async def register(self, name: str = "puppet", **more: Any) -> list[dict[str, Any]]:
        """Be an instance, or again the one that another connection was; returns its tasks."""
        told = {"name": name, "skills": [{"id": "do"}], **more}
        reply = await self._client.request("agent.register", told)
        self.instance = reply["instance"]
        return list(reply["tasks"])

    async def unregister(self) -> None:
        """Take no more tasks."""
        await self._client.request("agent.unregister")

    async def told(self, verb: str = "assigned") -> dict[str, Any]:
        """What it is told next, which is of this kind."""
        async with asyncio.timeout(_START_TIMEOUT):
            order = await anext(self.orders)
        assert order["type"] == f"agent.{verb}", order
        return dict(order["payload"])

    async def say(self, verb: str, job: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Report of a task; the payload of the reply."""
        named = {"task": job["task"], "attempt": job["attempt"]}
        return await self._client.request(f"agent.{verb}", named | more)


@asynccontextmanager
async def puppet(node: NodeProcess) -> AsyncIterator[Puppet]:
    """A connection that may be an instance."""
    async with node.connect(token=agent_token()) as client:
        yield Puppet(client)
