"""Agents, callers, nodes and Redis die in the midst of tasks: each ends once, the same for all."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from jackfield.client import Client, ConnectionClosed, RequestError
from tests.support.agent_processes import (
    Gate,
    agent_nodes,
    counters,
    metric,
    puppet,
    user,
    working,
)
from tests.support.valkeys import Valkey, single_valkey
from tests.support.verdicts import Message, calling, verdict, watching
from tests.support.waiting import wait_until

#: Seconds until an agent is back that was sent away: it is told to stay away for up to five.
RETURN = 20.0


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path, 20, 10)


def numbers(count: int) -> list[Message]:
    return [{"number": number} for number in range(count)]


async def detach(client: Client, skill: str, gate: Gate) -> str:
    asked = {"skill": skill, "input": gate.input, "detach": True}
    return str((await client.request("agent.call", asked))["task"])


def refused(client: Client, code: str = "unavailable") -> Callable[[], object]:
    """A condition: a call is refused for this."""

    async def condition() -> bool:
        try:
            await client.request("agent.call", {"agent": "nobody"}, timeout=10)
        except RequestError as error:
            return error.code == code
        return False

    return condition


def accepted(client: Client, skill: str, gate: Gate) -> Callable[[], object]:
    """A condition: a skill can be called."""

    async def condition() -> bool:
        try:
            await detach(client, skill, gate)
        except RequestError as error:
            if error.code != "not_found":
                raise
            return False
        return True

    return condition


async def test_the_tasks_of_a_killed_agent_go_on_at_another_or_fail_as_gone(
    valkey: Valkey, tmp_path: Path, gate: Gate
) -> None:
    async with agent_nodes(tmp_path, [valkey.url] * 2) as (first, second), AsyncExitStack() as run:
        alice = await run.enter_async_context(user(second))
        watch = await run.enter_async_context(watching(await run.enter_async_context(user(first))))
        doomed = await run.enter_async_context(working(first, 2))
        count = await run.enter_async_context(calling(alice, skill="count", input=gate.input))
        once = await run.enter_async_context(calling(alice, skill="once", input=gate.input))
        for call in (count, once):
            await watch.join(call.task)
            await call.has(10)
        await doomed.kill()
        survivor = await run.enter_async_context(working(second))
        gate.open()
        found = await verdict(count.task, alice, calls=[count], watches=[watch])
        assert (found.state, found.attempts) == ("completed", 2)
        assert found.output == {"by": survivor.pid, "attempt": 2}
        assert found.chunks == numbers(20)
        found = await verdict(once.task, alice, calls=[once], watches=[watch])
        assert (found.state, found.code) == ("failed", "agent_gone")
        assert found.chunks == numbers(10)


async def test_the_tasks_of_a_killed_node_go_on_at_another(
    valkey: Valkey, tmp_path: Path, gate: Gate
) -> None:
    async with agent_nodes(tmp_path, [valkey.url] * 2) as (doomed, node), AsyncExitStack() as run:
        alice = await run.enter_async_context(user(node))
        await run.enter_async_context(working(doomed, 2))
        running = [
            await run.enter_async_context(calling(alice, skill=skill, input=gate.input))
            for skill in ("count", "once")
        ]
        for call in running:
            await call.has(10)
        queued = [
            await run.enter_async_context(calling(alice, skill=skill, input=gate.input))
            for skill in ("count", "once")
        ]
        assert [call.states for call in queued] == [["submitted"]] * 2
        await doomed.kill()
        agent = await run.enter_async_context(working(node, 2))
        gate.open()
        found = [await verdict(call.task, alice, calls=[call]) for call in running + queued]
        assert [each.state for each in found] == ["completed", "failed", "completed", "completed"]
        assert [each.attempts for each in found] == [2, 1, 1, 1]
        assert [each.output for each in found if each.output] == [
            {"by": agent.pid, "attempt": attempt} for attempt in (2, 1, 1)
        ]
        assert [each.code for each in found] == [None, "agent_gone", None, None]
        assert [len(each.chunks) for each in found] == [20, 10, 20, 20]


async def test_an_agent_whose_node_is_killed_takes_its_task_along_to_another(
    valkey: Valkey, tmp_path: Path
) -> None:
    urls = [valkey.url] * 2
    async with agent_nodes(tmp_path, urls, "10s") as (doomed, node), AsyncExitStack() as run:
        alice = await run.enter_async_context(user(node))
        before = await run.enter_async_context(puppet(doomed))
        await before.register()
        call = await run.enter_async_context(calling(alice, agent="puppet"))
        job = await before.told()
        await before.say("update", job, seq=0, chunks=numbers(1))
        await doomed.kill()
        with pytest.raises(ConnectionClosed):
            await before.told()
        after = await run.enter_async_context(puppet(node))
        held = {"task": job["task"], "attempt": 1, "seq": 1, "state": "working"}
        assert await after.register(instance=before.instance) == [held]
        assert (await after.told()) == job | {"seq": 1}
        await after.say("update", job, seq=0, chunks=numbers(2))
        await after.say("complete", job, output={"done": True})
        found = await verdict(call.task, alice, calls=[call])
        assert (found.state, found.attempts) == ("completed", 1)
        assert found.chunks == numbers(2)


async def test_the_calls_of_a_killed_node_go_on_and_are_followed_from_another(
    valkey: Valkey, tmp_path: Path, gate: Gate
) -> None:
    async with agent_nodes(tmp_path, [valkey.url] * 2) as (doomed, node), AsyncExitStack() as run:
        before = await run.enter_async_context(user(doomed))
        alice = await run.enter_async_context(user(node))
        watch = await run.enter_async_context(watching(await run.enter_async_context(user(node))))
        await run.enter_async_context(working(node, 3))
        keyed = {"skill": "once", "input": gate.input, "key": "mine"}
        lost = [
            await run.enter_async_context(calling(before, **keyed)),
            await run.enter_async_context(calling(before, skill="once", input=gate.input)),
        ]
        for call in lost:
            await call.has(10)
        tasks = [call.task for call in lost]
        # One runs, one waits.
        tasks += [await detach(before, "once", gate) for _ in range(2)]
        await doomed.kill()
        again = await run.enter_async_context(calling(alice, **keyed))
        assert again.task == tasks[0]
        assert again.states[0] == "submitted"
        await again.has(10)
        for task in tasks:
            reply = await watch.join(task)
            assert (reply["recovered"], reply["offset"]) == (True, len(reply["events"]))
        gate.open()
        calls = [[lost[0], again], [lost[1]], [], []]
        for task, callers in zip(tasks, calls, strict=True):
            found = await verdict(task, alice, calls=callers, watches=[watch])
            assert (found.state, found.attempts, len(found.chunks)) == ("completed", 1, 20)


async def test_a_redis_that_stands_still_ends_no_task_twice(
    valkey: Valkey, tmp_path: Path, gate: Gate
) -> None:
    async with agent_nodes(tmp_path, [valkey.url] * 2) as (first, second), AsyncExitStack() as run:
        alice = await run.enter_async_context(user(second))
        bob = await run.enter_async_context(user(first))
        watch = await run.enter_async_context(watching(bob))
        await run.enter_async_context(working(first, 2))
        count = await run.enter_async_context(calling(alice, skill="count", input=gate.input))
        once = await run.enter_async_context(calling(alice, skill="once", input=gate.input))
        for call in (count, once):
            await watch.join(call.task)
            await call.has(10)
        with valkey.paused():
            gate.open()
            await wait_until(refused(alice))
            await wait_until(refused(bob))
        found = await verdict(count.task, alice, calls=[count], watches=[watch])
        assert (found.state, found.chunks) == ("completed", numbers(20))
        found = await verdict(once.task, alice, calls=[once], watches=[watch])
        assert (found.state, found.code) in (("completed", None), ("failed", "agent_gone"))
        await wait_until(refused(alice, "not_found"))


async def test_a_redis_restarted_with_its_data_ends_no_task_twice(
    tmp_path: Path, gate: Gate
) -> None:
    async with AsyncExitStack() as run:
        valkey = await run.enter_async_context(single_valkey(data=tmp_path))
        nodes = agent_nodes(tmp_path, [valkey.url] * 2)
        first, second = await run.enter_async_context(nodes)
        alice = await run.enter_async_context(user(second))
        watch = await run.enter_async_context(watching(await run.enter_async_context(user(first))))
        await run.enter_async_context(working(first, 2))
        count = await run.enter_async_context(calling(alice, skill="count", input=gate.input))
        once = await run.enter_async_context(calling(alice, skill="once", input=gate.input))
        for call in (count, once):
            await watch.join(call.task)
            await call.has(10)
        queued = await run.enter_async_context(calling(alice, skill="count", input=gate.input))
        await valkey.kill()
        gate.open()
        await wait_until(refused(alice))
        await valkey.start()
        found = await verdict(count.task, alice, calls=[count], watches=[watch])
        assert (found.state, found.chunks) == ("completed", numbers(20))
        found = await verdict(once.task, alice, calls=[once], watches=[watch])
        assert (found.state, found.code) in (("completed", None), ("failed", "agent_gone"))
        found = await verdict(queued.task, alice, calls=[queued])
        assert (found.state, found.chunks) == ("completed", numbers(20))


async def test_a_redis_restarted_without_its_data_leaves_no_caller_waiting(
    valkey: Valkey, tmp_path: Path, gate: Gate
) -> None:
    async with agent_nodes(tmp_path, [valkey.url] * 2) as (first, second), AsyncExitStack() as run:
        alice = await run.enter_async_context(user(second))
        await run.enter_async_context(working(first))
        running = await run.enter_async_context(calling(alice, skill="count", input=gate.input))
        await running.has(10)
        queued = await run.enter_async_context(calling(alice, skill="count", input=gate.input))
        await valkey.kill()
        await valkey.start()
        for call in (running, queued):
            await call.ends()
            assert call.error is not None
            assert (call.error["code"], call.error["task"]) == ("unavailable", call.task)
            assert call.chunks == numbers(len(call.chunks))
        gate.open()
        # Redis knows the agent no more, until it is back.
        await wait_until(accepted(alice, "count", gate), RETURN)
        call = await run.enter_async_context(calling(alice, skill="count", input=gate.input))
        found = await verdict(call.task, alice, calls=[call])
        assert (found.state, found.chunks) == ("completed", numbers(20))


async def test_a_caller_who_reloads_goes_on_at_another_node_with_nothing_missing_or_twice(
    valkey: Valkey, tmp_path: Path
) -> None:
    gate = Gate(tmp_path, 30, 10, 20)
    async with agent_nodes(tmp_path, [valkey.url] * 2) as (first, second), AsyncExitStack() as run:
        alice = await run.enter_async_context(user(second))
        await run.enter_async_context(working(second))
        async with user(first) as page:
            async with calling(page, skill="once", input=gate.input, key="page") as call:
                await call.has(10)
                await page.close()
                await call.ends()
        assert call.lost
        topic = {"topic": f"task:{call.task}"}
        left_at = await alice.request("topic.history", topic | {"after": 0})
        gate.open()

        async def has_gone_on() -> bool:
            return bool((await alice.request("agent.task", {"task": call.task}))["seq"] == 20)

        await wait_until(has_gone_on)
        # One page knows nothing, another where it was.
        whole = await run.enter_async_context(watching(await run.enter_async_context(user(second))))
        rest = await run.enter_async_context(watching(await run.enter_async_context(user(first))))
        reply = await whole.join(call.task)
        assert reply["recovered"]
        since = {"epoch": left_at["epoch"], "offset": left_at["offset"]}
        missed = await rest.join(call.task, since)
        assert missed["recovered"]
        assert missed["events"] == reply["events"][left_at["offset"] :]
        assert sum(len(each["payload"].get("chunks", ())) for each in missed["events"]) == 10
        gate.open()
        found = await verdict(call.task, alice, calls=[call], watches=[whole, rest])
        assert (found.state, found.chunks) == ("completed", numbers(30))
        assert whole.events[call.task][0][0] == 1


async def test_a_node_that_slept_past_the_lease_has_its_late_results_dropped_and_counted(
    valkey: Valkey, tmp_path: Path, gate: Gate
) -> None:
    async with agent_nodes(tmp_path, [valkey.url] * 2) as (sleeper, awake), AsyncExitStack() as run:
        alice = await run.enter_async_context(user(awake))
        await run.enter_async_context(working(sleeper, 2))
        count = await run.enter_async_context(calling(alice, skill="count", input=gate.input))
        once = await run.enter_async_context(calling(alice, skill="once", input=gate.input))
        for call in (count, once):
            await call.has(10)
        survivor = await run.enter_async_context(working(awake))
        with sleeper.paused():
            gate.open()  # for both instances: what the first says now comes too late
            late = await verdict(count.task, alice, calls=[count])
            assert (late.state, late.output) == ("completed", {"by": survivor.pid, "attempt": 2})
            assert late.chunks == numbers(20)
            gone = await verdict(once.task, alice, calls=[once])
            assert (gone.state, gone.code) == ("failed", "agent_gone")

        async def are_counted() -> bool:
            return await metric(sleeper, "jackfield_agent_reports_dropped") >= 2

        await wait_until(are_counted)

        async def are_both_there() -> bool:
            return bool((await counters(alice)).get("instances") == 2)

        await wait_until(are_both_there, RETURN)
        async with user(sleeper) as other:
            assert await verdict(count.task, alice, other, calls=[count]) == late
            assert await verdict(once.task, alice, other, calls=[once]) == gone
