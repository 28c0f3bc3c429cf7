"""Streams of agents are written in few pieces, and agents wait for callers that don't read."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from jackfield.agents.instance import AssignedTask
from jackfield.client import connect
from jackfield.connection.outbox import Outbox
from jackfield.testing import RunningServer
from tests.support.agents import Bot, Caller, agent_nodes
from tests.support.topics import Message
from tests.support.waiting import wait_until

Config = Mapping[str, Any]

#: Nearly as much as an update may have.
LARGE = "x" * 60_000


async def test_chunks_are_written_together(
    servers: list[RunningServer], bot: Bot, ada: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Outbox] = []
    flush = Outbox._write_queued

    def noted(outbox: Outbox) -> None:
        written.append(outbox)
        flush(outbox)

    monkeypatch.setattr(Outbox, "_write_queued", noted)
    await bot.register()
    called = await ada.begin()
    job = await bot.told()
    await called.news("working")
    (hers,) = servers[1].node.hub
    written.clear()
    await bot.update(job, *({"n": n} for n in range(1000)), seq=0)
    assert [await called.chunk() for _ in range(1000)] == [{"n": n} for n in range(1000)]
    assert written.count(hers.outbox) < 100


@asynccontextmanager
async def slow_reader(server: RunningServer) -> AsyncIterator[Caller]:
    """A caller that can be had not to read, with small buffers."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", int(server.address.rpartition(":")[2])))
    sock.setblocking(False)
    async with Caller(server, "ada", sock=sock) as caller:
        yield caller


def held_task(server: RunningServer, job: Message) -> AssignedTask:
    """What a node knows of a task that its one instance has."""
    (instance,) = server.node.agents.channels.by_agent["echo"].instances.values()
    return instance.tasks[job["task"]]


async def stream_until_held(
    bot: Bot, job: Message, server: RunningServer
) -> tuple[int, asyncio.Task[Message]]:
    """Stream large chunks until the answer to one waits: how many there were, and that one."""
    resumed, sent = held_task(server, job).resumed, 0
    while True:
        updating = asyncio.create_task(bot.update(job, {"n": sent, "x": LARGE}, seq=sent))
        sent += 1
        await wait_until(lambda held=updating: held.done() or resumed._waiters)  # type: ignore[misc]
        if not updating.done():
            return sent, updating


@pytest.mark.parametrize("waits", [True, False])
async def test_a_caller_that_does_not_read_holds_its_agent_and_nothing_is_lost(
    config: Config, *, waits: bool
) -> None:
    patient = {**config, "limits": {"write_timeout": "1m"}}
    async with (
        agent_nodes(patient, 2) as (here, there),
        Bot(here) as bot,
        slow_reader(there) as ada,
    ):
        await bot.register()
        called = await ada.begin()
        job = await bot.told()
        await called.news("working")
        ada.socket.transport.pause_reading()
        ((events,),) = there.node.agents.channels.by_agent["echo"].followed.values()
        sent, updating = await stream_until_held(bot, job, here)
        assert events._bytes <= 600_000
        if not waits:
            for _ in range(40):
                rude = {"task": job["task"], "attempt": 1, "seq": sent}
                await bot.post("agent.update", **rude, chunks=[{"n": sent, "x": LARGE}])
                sent += 1

            async def is_stored() -> bool:
                fields = await here.node.agents.store.read_task(called.task)
                return int(fields["seq"]) == sent

            await wait_until(is_stored)
            await wait_until(lambda: events._is_behind)
            assert events._bytes <= 1_048_576
        ada.socket.transport.resume_reading()
        for number in range(sent):
            assert (await called.chunk())["n"] == number
        assert (await updating)["type"] == "reply"
        await bot.complete(job)
        assert await called.output() == {}


async def test_an_agent_is_not_held_for_a_caller_that_has_left(config: Config) -> None:
    patient = {**config, "limits": {"write_timeout": "1m"}}
    async with agent_nodes(patient, 2) as (here, there), Bot(here) as bot:
        await bot.register()
        async with slow_reader(there) as ada:
            await ada.begin(key="kept")
            job = await bot.told()
            ada.socket.transport.pause_reading()
            _, updating = await stream_until_held(bot, job, here)
            ada.socket.transport.abort()
        assert (await updating)["type"] == "reply"
        assert (await bot.complete(job))["type"] == "reply"


async def test_an_agent_is_not_held_for_the_caller_of_a_node_that_is_gone(config: Config) -> None:
    patient = {**config, "limits": {"write_timeout": "1m"}}
    async with agent_nodes(patient) as (here,), Bot(here) as bot:
        await bot.register()
        async with Caller(here, "ada") as ada:
            called = await ada.begin()
            job = await bot.told()
            # As a node leaves it that was killed.
            await here.node.agents.store.hold(called.task, node="killed", wait=True)
            await wait_until(lambda: not held_task(here, job).resumed.is_set())
            assert (await bot.update(job, {"n": 1}, seq=0))["type"] == "reply"
            await bot.complete(job)


async def test_the_python_client_has_an_agent_wait_for_a_slow_reader(config: Config) -> None:
    """More chunks than all buffers on the way hold together; none is lost."""
    total = 400
    # Its updates are charged by their bytes, and are sent as fast as they are taken.
    config = {**config, "limits": {"requests_per_second": 100_000}}
    async with agent_nodes(config, 2) as (here, there), Bot(here) as bot:
        await bot.register()
        headers = {"X-User": "ada", "X-Scopes": ""}
        async with connect(there.url, headers=headers, buffer_bytes=262_144) as client:
            stream = client.stream("agent.call", {"agent": "echo", "input": {}})
            step = asyncio.create_task(anext(stream))
            job = await bot.told()
            assert (await step)["state"] == "submitted"

            async def work() -> None:
                for number in range(total):
                    chunk = {"n": number, "x": "x" * 20_000}
                    assert (await bot.update(job, chunk, seq=number))["type"] == "reply"
                await bot.complete(job)

            working = asyncio.create_task(work())
            resumed = held_task(here, job).resumed
            await wait_until(lambda: resumed._waiters)
            assert not working.done()
            got = [chunk["n"] async for chunk in stream if "n" in chunk]
            assert got == [*range(total)]
            await working
