"""Whoever comes second to a task gets nothing of it, by however little they do: many times."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from jackfield.client import Client, RequestError
from tests.support.agent_processes import Puppet, agent_nodes, puppet, user
from tests.support.nodes import NodeProcess
from tests.support.valkeys import Valkey
from tests.support.verdicts import Message, calling, verdict, watching

#: Rounds of two instances that race for a task.
_RACES: Final = 300
#: Rounds of a cancellation that races a completion, and how many of them go on at a time.
_CANCELS: Final = 1000
_AT_A_TIME: Final = 8


@pytest.fixture
async def nodes(valkey: Valkey, tmp_path: Path) -> AsyncIterator[list[NodeProcess]]:
    async with agent_nodes(tmp_path, [valkey.url] * 2, lease="30s") as nodes:
        yield nodes


class Racer:
    """An instance that notes each task which it is told to do.

    Args:
        puppet: The instance.
        jobs: Where it puts them, beside the others.
    """

    def __init__(self, puppet: Puppet, jobs: asyncio.Queue[Message]) -> None:
        self.puppet = puppet
        self._jobs = jobs
        self.assigned: Counter[str] = Counter()

    async def run(self) -> None:
        while True:
            job = await self.puppet.told()
            self.assigned[job["task"]] += 1
            self._jobs.put_nowait(job)


async def test_of_two_instances_that_race_for_a_task_exactly_one_gets_it(
    nodes: list[NodeProcess],
) -> None:
    first, second = nodes
    async with AsyncExitStack() as run:
        alice = await run.enter_async_context(user(first))
        jobs: asyncio.Queue[Message] = asyncio.Queue()
        racers = [
            Racer(await run.enter_async_context(puppet(node)), jobs) for node in (first, second)
        ]
        tasks: list[str] = []
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(racer.run()) for racer in racers]
            for racer in racers:
                await racer.puppet.register()
            for number in range(_RACES):
                for racer in racers:
                    await racer.puppet.unregister()
                asked = {"agent": "puppet", "input": {"number": number}, "detach": True}
                tasks.append((await alice.request("agent.call", asked))["task"])
                # The task waits; now both of them come for it.
                order = racers if number % 2 else racers[::-1]
                await asyncio.gather(*(racer.puppet.register() for racer in order))
                job = await jobs.get()
                assert (job["task"], job["input"]) == (tasks[-1], {"number": number})
                # Either says that it has done it.
                ends = await asyncio.gather(
                    *(end(racer.puppet, job, by=place) for place, racer in enumerate(racers))
                )
                assert sorted(ends) == ["completed", "not_found"]
                winner = ends.index("completed")
                assert racers[winner].assigned[job["task"]] == 1
                found = await verdict(tasks[-1], alice)
                assert (found.attempts, found.output) == (1, {"by": winner})
            for each in running:
                each.cancel()
        assert jobs.empty()
        assert racers[0].assigned + racers[1].assigned == Counter(tasks)
        assert all(racer.assigned for racer in racers)


async def test_a_cancellation_that_races_a_completion_ends_the_task_once_and_alike_for_all(
    nodes: list[NodeProcess],
) -> None:
    first, second = nodes
    async with AsyncExitStack() as run:
        alice = await run.enter_async_context(user(first))
        bob = await run.enter_async_context(user(second, "bob"))
        watch = await run.enter_async_context(watching(bob))
        agent = await run.enter_async_context(puppet(second))
        await agent.register(capacity=_AT_A_TIME)
        jobs: dict[str, asyncio.Future[Message]] = {}
        canceled: Counter[str] = Counter()
        turns = iter(range(_CANCELS))
        outcomes: dict[str, str] = {}

        async def listen() -> None:
            async for order in agent.orders:
                job = order["payload"]
                if order["type"] == "agent.assigned":
                    jobs.setdefault(job["task"], asyncio.Future()).set_result(job)
                else:
                    canceled[job["task"]] += 1

        async def play() -> None:
            for turn in turns:
                async with calling(alice, agent="puppet", watchers=["bob"]) as call:
                    job = await jobs.setdefault(call.task, asyncio.Future())
                    await watch.join(call.task)
                    moves = [cancel(alice, call.task), end(agent, job, turn=turn)]
                    order = 1 if turn % 2 else -1  # who is the first to write
                    told = await asyncio.gather(*moves[::order])
                    found = await verdict(call.task, alice, bob, calls=[call], watches=[watch])
                await watch.leave(call.task)
                assert told == [found.state] * 2
                assert (found.output, found.code) in (({"turn": turn}, None), (None, "cancelled"))
                outcomes[call.task] = found.state

        async with asyncio.TaskGroup() as group:
            listening = group.create_task(listen())
            async with asyncio.TaskGroup() as players:
                for _ in range(_AT_A_TIME):
                    players.create_task(play())
            listening.cancel()
        assert len(outcomes) == _CANCELS
        assert {*outcomes.values()} == {"completed", "canceled"}
        assert all(outcomes[task] == "canceled" for task in canceled)
        assert {*canceled.values()} == {1}


async def cancel(caller: Client, task: str) -> str:
    """The state that a task has when it was cancelled."""
    return str((await caller.request("agent.cancel", {"task": task}))["state"])


async def end(agent: Puppet, job: Message, **output: Any) -> str:
    """The state of a task when an instance says that it has done it, or why it could not have."""
    try:
        return str((await agent.say("complete", job, output=output))["state"])
    except RequestError as error:
        return str(error.extra.get("state", error.code))
