"""Agents: what calls and streams through two nodes cost of their CPU, and how long one takes.

Run as ``python -m benchmarks.agents``, or by ``make bench-agents``. The caller is at one node and
the agent at the other, so everything goes through the Redis that they share.
"""

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import click
import msgspec

from . import side_by_side
from .report import mark, out, plain_table
from .servers import JACKFIELD, RunningServer, cores, pinned, running
from .valkey import running_valkey

#: Calls under way at once, the connections that make them, and as many instances.
IN_FLIGHT: Final = 256
CALLERS: Final = 8
#: Chunks of one update: what an agent yields while the update before is under way.
CHUNKS: Final = 32
#: Updates of one task: with the chunks less than a task keeps.
UPDATES: Final = 200
#: Tasks that wait, for an agent that is not there.
WAITING: Final = 10_000
WANTED: Final = {"calls": 3_000.0, "chunks": 30_000.0}
WANTED_MS: Final = 5.0
#: Seconds before anything counts.
_WARM_UP: Final = 1.0
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class Figures(NamedTuple):
    """What was measured: per second of CPU of both nodes, ms, and CPU while tasks only wait."""

    calls: float
    chunks: float
    median_ms: float
    idle_share: float
    waiting_share: float


class Socket:
    """A connection, and what is sent over it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last_id = 0

    async def send(self, message_type: str, payload: dict[str, Any]) -> int:
        """Send a message; its id."""
        self._last_id += 1
        message = {"type": message_type, "id": self._last_id, "payload": payload}
        await self._socket.send_str(_encode(message).decode())
        return self._last_id

    async def receive(self) -> Any:
        """The next message."""
        return _decode(await self._socket.receive_str())


@contextlib.asynccontextmanager
async def connected(session: aiohttp.ClientSession, server: RunningServer) -> AsyncIterator[Socket]:
    """A connection to a server, welcomed."""
    async with session.ws_connect(f"http://127.0.0.1:{server.port}/ws", max_msg_size=0) as socket:
        one = Socket(socket)
        await one.receive()
        yield one


async def register(socket: Socket, name: str, capacity: int) -> None:
    """Be an agent."""
    skill = {"id": "work", "input": {"type": "object", "required": ["n"]}}
    await socket.send("agent.register", {"name": name, "skills": [skill], "capacity": capacity})
    while (await socket.receive())["type"] != "reply":
        pass


async def serve_calls(socket: Socket) -> None:
    """Complete each task at once."""
    while True:
        message = await socket.receive()
        if message["type"] == "agent.assigned":
            task = message["payload"]
            payload = {"task": task["task"], "attempt": task["attempt"], "output": task["input"]}
            await socket.send("agent.complete", payload)
        elif message["type"] == "error":
            raise RuntimeError(message)


async def serve_streams(socket: Socket) -> None:
    """Stream chunks, one update at a time, as the SDK does."""
    waiting: dict[int, tuple[dict[str, Any], int]] = {}

    async def step(task: dict[str, Any], done: int) -> None:
        of = {"task": task["task"], "attempt": task["attempt"]}
        if done == UPDATES:
            await socket.send("agent.complete", of)
            return
        first = done * CHUNKS
        chunks = [{"delta": f"word {number}"} for number in range(first, first + CHUNKS)]
        sent = await socket.send("agent.update", {**of, "seq": first, "chunks": chunks})
        waiting[sent] = (task, done + 1)

    while True:
        message = await socket.receive()
        if message["type"] == "agent.assigned":
            await step(message["payload"], 0)
        elif message["type"] == "reply" and message["id"] in waiting:
            await step(*waiting.pop(message["id"]))
        elif message["type"] == "error":
            raise RuntimeError(message)


class Caller:
    """Calls again and again, and counts."""

    def __init__(self, socket: Socket, agent: str, in_flight: int) -> None:
        self.calls = 0
        self.chunks = 0
        self.times: list[float] = []
        self._socket = socket
        self._agent = agent
        self._in_flight = in_flight
        self._begun: dict[int, float] = {}

    async def run(self) -> None:
        """Call until cancelled."""
        for _ in range(self._in_flight):
            await self._call()
        while True:
            message = await self._socket.receive()
            if message["type"] == "reply":
                self.calls += 1
                self.times.append(time.perf_counter() - self._begun.pop(message["id"]))
                await self._call()
            elif message["type"] == "chunk":
                self.chunks += "state" not in message
            else:
                raise RuntimeError(message)

    async def _call(self) -> None:
        begun = time.perf_counter()
        sent = await self._socket.send("agent.call", {"agent": self._agent, "input": {"n": 1}})
        self._begun[sent] = begun


def cpu(servers: tuple[RunningServer, ...]) -> float:
    """Seconds of CPU that the servers have had."""
    total = 0.0
    for server in servers:
        fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / 100
    return total


async def _measure(servers: tuple[RunningServer, RunningServer], seconds: float) -> Figures:
    near, far = servers
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def socket(server: RunningServer) -> Socket:
            return await stack.enter_async_context(connected(session, server))

        shorts, stream = [await socket(far) for _ in range(CALLERS)], await socket(far)
        for short in shorts:
            await register(short, "short", IN_FLIGHT // CALLERS)
        await register(stream, "stream", 16)
        tasks = [asyncio.create_task(serve_calls(short)) for short in shorts]
        tasks.append(asyncio.create_task(serve_streams(stream)))
        one = Caller(await socket(near), "short", 1)
        median = 1000 * statistics.median(await _times(one, seconds))
        many = [Caller(await socket(near), "short", IN_FLIGHT // CALLERS) for _ in range(CALLERS)]
        calls = await _rate(many, "calls", servers, seconds)
        watching = Caller(await socket(near), "stream", 1)
        chunks = await _rate([watching], "chunks", servers, seconds)
        idle = await _idle(servers, seconds)
        await _queue(await socket(near), await socket(far))
        waiting = await _idle(servers, seconds)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return Figures(calls, chunks, median, idle, waiting)


async def _times(caller: Caller, seconds: float) -> list[float]:
    async with _running([caller]):
        await asyncio.sleep(_WARM_UP)
        caller.times.clear()
        await asyncio.sleep(seconds)
        return list(caller.times)


async def _rate(
    callers: list[Caller], what: str, servers: tuple[RunningServer, ...], seconds: float
) -> float:
    async with _running(callers):
        await asyncio.sleep(_WARM_UP)
        before, spent = sum(getattr(each, what) for each in callers), cpu(servers)
        await asyncio.sleep(seconds)
        done = sum(getattr(each, what) for each in callers) - before
        return float(done / (cpu(servers) - spent))


@contextlib.asynccontextmanager
async def _running(callers: list[Caller]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(caller.run()) for caller in callers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (fault := task.exception()) is not None:
            raise fault


async def _queue(caller: Socket, agent: Socket) -> None:
    """Have tasks wait: for an agent that takes one and never ends it."""
    await register(agent, "busy", 1)
    for start in range(0, WAITING, 50):
        for _ in range(50):
            payload = {"agent": "busy", "input": {"n": 1}, "detach": True}
            await caller.send("agent.call", payload)
        for number in range(50):
            message = await caller.receive()
            if message["type"] != "reply":
                raise RuntimeError(start + number, message)


async def _idle(servers: tuple[RunningServer, ...], seconds: float) -> float:
    """The share of a CPU that the nodes take while nothing happens."""
    await asyncio.sleep(_WARM_UP)
    before = cpu(servers)
    await asyncio.sleep(2 * seconds)
    return (cpu(servers) - before) / (2 * seconds)


@contextlib.contextmanager
def _two_nodes() -> Iterator[tuple[RunningServer, RunningServer]]:
    where = cores()
    settings = {
        "JACKFIELD__AUTH__ANONYMOUS_SCOPES": '["agent"]',
        "JACKFIELD__AGENTS__QUEUE": str(2 * WAITING),
        # One caller stands for many, and keeps what they would.
        "JACKFIELD__LIMITS__KEPT_BYTES": str(2**40),
        "JACKFIELD__LIMITS__KEPT_BYTES_PER_ADDRESS": str(2**40),
    }
    with contextlib.ExitStack() as stack:
        with pinned(where.redis):
            redis = stack.enter_context(running_valkey())
        near, far = (
            stack.enter_context(running(JACKFIELD, where.servers, redis, settings))
            for _ in range(2)
        )
        with pinned(where.load):
            yield near, far


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(0.5, 60),
    default=4.0,
    show_default=True,
    help="How long each measurement takes.",
)
@click.option(
    "--json",
    "as_json",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write all figures, as JSON.",
)
def main(*, seconds: float, as_json: Path | None) -> None:
    """Measure calls of agents through two nodes and a Redis, on this machine.

    Short calls, chunks to one caller, the time of a call on an idle machine, and what tasks that
    wait cost. README.md tells how.
    """
    with side_by_side.stoppable(), _two_nodes() as servers:
        figures = asyncio.run(_measure(servers, seconds))
    table = plain_table("Agents, per second of the CPU of both nodes")
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right")
    table.add_column("wanted", justify="right")
    for name, wanted in WANTED.items():
        value = getattr(figures, name)
        table.add_row(name, f"{value:,.0f}", f"{wanted:,.0f} {mark(met=value >= wanted)}")
    met = mark(met=figures.median_ms < WANTED_MS)
    table.add_row("one call, ms", f"{figures.median_ms:.2f}", f"< {WANTED_MS:g} {met}")
    table.add_row("CPU when idle", f"{figures.idle_share:.1%}", "")
    table.add_row(f"CPU with {WAITING:,} waiting", f"{figures.waiting_share:.1%}", "the same")
    out.print(table)
    if as_json is not None:
        as_json.write_text(json.dumps(figures._asdict(), indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
