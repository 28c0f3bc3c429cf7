"""Agents die, lose their line, come back and race, and every task ends exactly once."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from jackfield.testing import RunningServer
from tests.support import wait_until
from tests.topics import Ear, Member, Message, nodes, own_redis
from tests.workers import Worker, call, of, story

#: Short, and yet long enough for a test's agent to come back within it.
LEASE = {"agents": {"lease": "1s"}}
_ENDED = {"completed", "failed", "canceled", "rejected"}
ROUNDS = 1000


@pytest.fixture
async def two(config: Mapping[str, Any]) -> AsyncIterator[list[RunningServer]]:
    async with nodes({**config, **LEASE}) as servers:
        yield servers


@pytest.fixture
async def enter() -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        yield stack.enter_async_context


async def ends(reader: Member, task: str) -> list[str]:
    """The terminal states that a task's topic tells."""
    return [each["state"] for each in await story(reader, task) if each.get("state") in _ENDED]


@pytest.mark.parametrize("idempotent", [True, False])
async def test_a_dead_agents_task_is_anothers_or_has_failed(
    two: Any, enter: Any, *, idempotent: bool
) -> None:
    ada = await enter(Member(two[1], "ada"))
    skills = [{"id": "say", "idempotent": idempotent}]
    async with Worker(two[0]) as dying:
        await dying.register(skills=skills)
        made = await call(ada)
        task = await dying.assigned()
        await dying.update(task, {"n": 0}, {"n": 1})
    other = await enter(Worker(two[1]))
    await other.register(skills=skills)
    if not idempotent:
        error = await made.error()
        assert (error["code"], error["retryable"]) == ("agent_gone", True)
        assert await ends(ada, made.task) == ["failed"]
        return
    again = await other.assigned()
    assert (again["task"], again["attempt"], again["seq"]) == (made.task, 2, 2)
    # It streams everything again, and what the caller has had is dropped.
    await other.update(again, {"n": 0})
    await other.update(again, {"n": 1}, {"n": 2}, seq=1)
    await other.complete(again, done=True)
    assert await made.output() == {"done": True}
    assert made.chunks == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert await ends(ada, made.task) == ["completed"]


async def test_a_task_that_kills_its_agents_is_not_tried_for_ever(config: Any, enter: Any) -> None:
    async with nodes({**config, "agents": {"lease": "300ms", "attempts": 2}}) as two:
        ada = await enter(Member(two[1], "ada"))
        skills = [{"id": "say", "idempotent": True}]
        made = None
        for attempt in (1, 2):
            async with Worker(two[0]) as dying:
                await dying.register(skills=skills)
                made = made or await call(ada)
                assert (await dying.assigned())["attempt"] == attempt
        assert made is not None
        assert (await made.error())["code"] == "agent_gone"


async def test_an_agent_that_comes_back_within_the_lease_keeps_its_tasks(
    config: Any, enter: Any
) -> None:
    async with nodes({**config, "agents": {"lease": "20s"}}) as two:
        ada = await enter(Member(two[1], "ada"))
        async with Worker(two[0]) as gone:
            mine = (await gone.register(capacity=3))["instance"]
            made, asking, ended = [await call(ada) for _ in range(3)]
            tasks = [await gone.assigned() for _ in range(3)]
            await gone.update(tasks[0], {"n": 0})
            await gone.update(tasks[1], state="input_required", prompt={"message": "Who?"})
            await asking.until("input_required")
        await wait_until(lambda: two[0].node.agents.instances == 0)
        # What happens meanwhile is told when it is back.
        await ada.reply("agent.answer", task=asking.task, input={"who": "Ada"})
        await ada.reply("agent.cancel", task=ended.task)
        back = await enter(Worker(two[1]))
        reply = await back.register(instance=mine, capacity=3)
        assert reply["instance"] == mine
        listed = {task["task"]: task for task in reply["tasks"]}
        assert listed[made.task] == {
            "task": made.task,
            "attempt": 1,
            "seq": 1,
            "state": "working",
        }
        assert set(listed) == {made.task, asking.task}
        orders = [await back.next() for _ in range(3)]
        assert {order["type"] for order in orders} == {"agent.assigned", "agent.answered"}
        (answered,) = [each["payload"] for each in orders if each["type"] == "agent.answered"]
        assert answered == {
            "task": asking.task,
            "attempt": 1,
            "answer": 1,
            "input": {"who": "Ada"},
        }
        await back.update(tasks[0], {"n": 1}, seq=1)
        await back.complete(tasks[0])
        assert await made.output() == {}
        assert made.chunks == [{"n": 0}, {"n": 1}]
        await back.complete(tasks[1])
        assert await asking.output() == {}


async def test_nobody_takes_over_the_instance_of_another_user(two: Any, enter: Any) -> None:
    worker, thief = await enter(Worker(two[0])), await enter(Worker(two[1], "thief"))
    mine = (await worker.register())["instance"]
    error = await thief.error("agent.register", name="echo", skills=[{"id": "say"}], instance=mine)
    assert error["code"] == "forbidden"
    ada = await enter(Member(two[1], "ada"))
    made = await call(ada)
    await worker.complete(await worker.assigned())
    await made.output()


async def test_late_foreign_and_forged_results_are_dropped_and_counted(
    two: Any, enter: Any
) -> None:
    worker, other = await enter(Worker(two[0])), await enter(Worker(two[0], "other"))
    ada = await enter(Member(two[1], "ada"))
    await worker.register()
    await other.register("other")
    made = await call(ada)
    task = await worker.assigned()
    dropped = two[0].node.agents.dropped
    for forged in (of(task), {"task": made.task[:-1] + "~", "attempt": 1}):
        for verb, more in (("complete", {}), ("fail", {"message": "no"}), ("update", {})):
            error = await other.error(f"agent.{verb}", **forged, **more)
            assert error["code"] == "not_found"
    assert two[0].node.agents.dropped == dropped + 6
    wrong = await worker.error("agent.complete", task=made.task, attempt=2)
    assert (wrong["code"], wrong["state"]) == ("conflict", "working")
    first = await worker.complete(task, n=1)
    assert await worker.complete(task, n=2) == first  # said again, as after a lost reply
    assert await made.output() == {"n": 1}
    late = await worker.error("agent.fail", **of(task), message="late")
    assert (late["code"], late["state"]) == ("conflict", "completed")
    assert await ends(ada, made.task) == ["completed"]


async def test_cancel_races_completion_and_one_of_them_wins(two: Any, enter: Any) -> None:
    worker = await enter(Worker(two[0]))
    ada, watcher = await enter(Member(two[1], "ada")), await enter(Member(two[0], "ada"))
    await worker.register(capacity=1)
    seen = set[str]()
    for number in range(ROUNDS):
        made = await call(ada)
        task = await worker.assigned()
        # Each is a step ahead in turns.
        cancelling = watcher.request("agent.cancel", task=made.task)
        completing = worker.request("agent.complete", **of(task))
        if number % 2:
            completed, cancelled = await asyncio.gather(completing, cancelling)
        else:
            cancelled, completed = await asyncio.gather(cancelling, completing)
        end = await made.end()
        state = cancelled["payload"]["state"]
        seen.add(state)
        if state == "completed":
            assert end["type"] == completed["type"] == "reply"
        else:
            assert (state, end["error"]["code"]) == ("canceled", "cancelled")
            assert completed["error"]["code"] == "conflict"
            assert completed["error"]["state"] == "canceled"
            # It is told by this, or was before by an order.
            worker.inbox = [each for each in worker.inbox if each["type"] != "agent.canceled"]
        if number % 100 == 0:
            assert await ends(watcher, made.task) == [state]
    assert seen == {"completed", "canceled"}


async def test_two_instances_never_get_one_task(two: Any, enter: Any) -> None:
    workers = [await enter(Worker(server)) for server in two]
    ada = await enter(Member(two[1], "ada"))
    for worker in workers:
        await worker.register(capacity=1)
    done = dict[str, int]()

    async def serve(worker: Worker) -> None:
        while True:
            task = await worker.assigned()
            assert task["attempt"] == 1
            done[task["task"]] = done.get(task["task"], 0) + 1
            await worker.complete(task)

    serving = [asyncio.create_task(serve(worker)) for worker in workers]
    sent = [await ada.post("agent.call", agent="echo") for _ in range(50)]
    for each in sent:
        while (await ada.answer(each))["type"] != "reply":
            pass
    for task in serving:
        task.cancel()
    await asyncio.wait(serving)
    assert sorted(done.values()) == [1] * 50


async def test_what_a_deaf_node_has_missed_is_made_up_for(config: Any, enter: Any) -> None:
    async with nodes({**config, "agents": {"lease": "900ms"}}) as two:
        ears = [Ear(server) for server in two]
        worker, ada = await enter(Worker(two[0])), await enter(Member(two[1], "ada"))
        await worker.register(capacity=2)
        known = await call(ada)
        first = await worker.assigned()
        ears[0].is_deaf = True
        made = await call(ada)
        await made.until("working")
        await ada.reply("agent.cancel", task=known.task)
        ears[0].is_deaf = False
        orders: list[Message] = [await worker.next() for _ in range(2)]
        assert {order["type"] for order in orders} == {"agent.assigned", "agent.canceled"}
        (assigned,) = [each["payload"] for each in orders if each["type"] == "agent.assigned"]
        assert (assigned["task"], first["task"]) == (made.task, known.task)
        ears[1].is_deaf = True
        await worker.update(assigned, {"n": 1})
        await worker.complete(assigned, n=2)
        # Nothing else will be published that could show the gap.
        assert await made.output() == {"n": 2}
        assert made.chunks == [{"n": 1}]


async def test_without_redis_everyone_is_told_and_nothing_hangs(enter: Any) -> None:
    async with own_redis(redis={"timeout": "300ms"}) as (config, redis):
        async with nodes(config, 1) as (server,):
            worker, ada = await enter(Worker(server)), await enter(Member(server, "ada"))
            await worker.register()
            made = await call(ada, timeout=1.5)
            task = await worker.assigned()
            execute: Any = redis.execute_command  # redis-py has no types for it
            await execute("CLIENT PAUSE", 4000, "ALL")
            for client, verb, more in (
                (ada, "call", {"agent": "echo"}),
                (ada, "task", {"task": made.task}),
                (ada, "cancel", {"task": made.task}),
                (ada, "answer", {"task": made.task, "input": {}}),
                (worker, "update", {**of(task), "chunks": [{}], "seq": 0}),
                (worker, "complete", of(task)),
                (worker, "fail", {**of(task), "message": "no"}),
                (worker, "unregister", {}),
            ):
                error = await client.error(f"agent.{verb}", **more)
                assert error["code"] == "unavailable", (verb, error)
            error = await made.error()
            assert error["code"] == "unavailable"
            await execute("CLIENT UNPAUSE")
