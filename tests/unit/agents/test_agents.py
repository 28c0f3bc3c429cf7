"""A node's part of agents: what its calls become, and what its instances are sent and may say."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from jackfield.agents.call import Call, CallOptions
from jackfield.agents.instance import REGISTRATION
from jackfield.agents.task import Progress
from jackfield.store.tasks import TaskEnd, TaskUpdate
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from tests.support.node_agents import COUNT, SAY, NodeAgents, Peer, node_agents
from tests.support.waiting import wait_until

Config = Mapping[str, Any]
OUTPUT = b'{"said":"hi"}'


async def options(node: NodeAgents, skill: str = "say", **more: Any) -> CallOptions:
    known = await node.agents.directory.find("echo", skill)
    return CallOptions(known, **{"input": {"text": "hi"}, "caller": "ada", **more})


async def call(node: NodeAgents, **more: Any) -> Call:
    return await node.agents.call(await options(node, **more))


async def progress(call: Call) -> list[Progress]:
    return [each async for each in call.progress()]


async def end(node: NodeAgents, bot: Peer, job: Mapping[str, Any], body: bytes = OUTPUT) -> None:
    report = TaskEnd(job["task"], instance(bot).id, job["attempt"], "completed", "output", body)
    await node.agents.report(instance(bot), report)


def instance(bot: Peer) -> Any:
    return bot.connection[REGISTRATION].instance


def update(bot: Peer, job: Mapping[str, Any], seq: int = 0) -> TaskUpdate:
    return TaskUpdate(
        job["task"], instance(bot).id, job["attempt"], seq, 1, b'{"n":1}', "", b"{}", 3600.0
    )


async def state_of(node: NodeAgents, task: str) -> str:
    return str((await node.agents.store.read_task(task)).get("state", b""), "ascii")


async def test_a_call_is_handed_to_an_instance_and_its_output_to_the_caller(
    config: Config,
) -> None:
    async with node_agents(config) as node:
        bot = node.bot()
        await bot.register()
        called = await call(node)
        assert (node.agents.called, node.agents.followed, node.agents.instances) == (1, 1, 1)
        job = await bot.next()
        assert (job["task"], job["input"], job["caller"]) == (called.task, {"text": "hi"}, "ada")
        await node.agents.report(instance(bot), update(bot, job))
        await end(node, bot, job)
        events = await progress(called)
        assert [each.state or each.kind for each in events] == [
            "submitted",
            "working",
            "chunks",
            "completed",
        ]
        assert bytes(events[-1].output) == OUTPUT
        called.stop(Error("cancelled"))  # it has ended: nothing is canceled
        assert node.agents.followed == 0


async def test_an_input_that_does_not_fit_the_skill_is_no_call(config: Config) -> None:
    async with node_agents(config) as node:
        await node.bot().register(COUNT)
        with pytest.raises(Error, match="invalid_payload"):
            await call(node, skill="count", input={"to": "x"})
        assert node.agents.called == 0
        (await call(node, skill="count", input={"to": 3})).stop()


async def test_a_skill_that_has_changed_is_looked_up_anew(config: Config) -> None:
    async with node_agents(config) as node:
        bot = node.bot()
        await bot.register()
        old = await options(node)
        changed = {**SAY, "input": {"type": "object", "required": ["loud"]}}
        await bot.access.register("echo", [changed])
        with pytest.raises(Error, match="invalid_payload"):
            await node.agents.call(old)
        assert node.agents.followed == 0


async def test_the_same_key_is_the_same_task_followed_from_its_beginning(config: Config) -> None:
    async with node_agents(config) as node:
        bot = node.bot()
        await bot.register()
        first = await call(node, key="k")
        again = await call(node, key="k")
        detached = await call(node, key="k", follow=False)
        assert first.task == again.task == detached.task
        assert node.agents.called == 1
        await end(node, bot, await bot.next())
        for each in (first, again):
            assert [event.kind for event in await progress(each)] == ["task", "state", "state"]
            each.stop()


async def test_too_many_calls_that_wait_are_refused_for_a_while(config: Config) -> None:
    async with node_agents(config, agents={"queue": 1}) as node:
        await node.bot().register(capacity=1)
        for _ in range(2):  # one runs, and one waits
            (await call(node)).stop()
        with pytest.raises(Error, match="unavailable") as refused:
            await call(node)
        assert refused.value.extra["retry_after"] > 0


@pytest.mark.parametrize("key", ["", "k"])
async def test_the_call_of_a_caller_that_leaves_at_once_is_canceled_unless_it_can_come_back(
    config: Config, key: str
) -> None:
    async with node_agents(config) as node:
        bot = node.bot()
        await bot.register()
        wanted = await options(node, key=key)
        store: Any = node.agents.store
        begun = asyncio.Event()
        real = store.call

        def noted(*args: Any) -> Any:
            begun.set()
            return real(*args)

        store.call = noted
        calling = asyncio.create_task(node.agents.call(wanted))
        await begun.wait()
        calling.cancel()
        await asyncio.wait([calling])
        assert calling.cancelled()
        job = await bot.next()
        if key:
            assert await state_of(node, job["task"]) == "working"
        else:
            assert (await bot.next("canceled"))["task"] == job["task"]
        assert node.agents.followed == 0


async def test_a_task_that_is_not_there_is_not_followed(config: Config) -> None:
    async with node_agents(config) as node:
        await node.bot().register()
        with pytest.raises(Error, match="not_found"):
            await node.agents.follow("echo." + "x" * 22)
        assert node.agents.followed == 0


async def test_a_task_ends_at_its_deadline(config: Config) -> None:
    async with node_agents(config) as node:
        bot = node.bot()
        await bot.register()
        called = await call(node, timeout=0.05)
        last = (await progress(called))[-1]
        assert last.state == "failed"
        assert msgspec.json.decode(bytes(last.error))["code"] == "timeout"
        called.stop()
        await bot.next()
        assert (await bot.next("canceled"))["task"] == called.task


async def test_no_task_may_take_longer_than_the_longest(config: Config) -> None:
    async with node_agents(config, agents={"timeout": "1m", "max_timeout": "2m"}) as node:
        await node.bot().register(capacity=3)
        for timeout, seconds in ((None, 60), (90.0, 90), (9999.0, 120)):
            called = await call(node, timeout=timeout)
            task = await node.agents.store.read_task(called.task)
            brief = msgspec.json.decode(b"{%b}" % task["brief"])
            assert round(brief["deadline"] - brief["created_at"]) == seconds
            called.stop()


async def test_while_redis_is_away_a_deadline_is_told_all_the_same(config: Config) -> None:
    async with node_agents(config) as node:
        await node.bot().register()
        called = await call(node, timeout=60)
        store: Any = node.agents.store

        async def away(_: str) -> Any:
            raise Error("unavailable")

        store.expire = away
        node.agents.expire_soon(called)
        with pytest.raises(Error, match="unavailable") as fault:
            await progress(called)
        assert fault.value.extra["task"] == called.task
        called.stop()


async def test_a_deadline_that_redis_does_not_agree_with_is_waited_for(config: Config) -> None:
    async with node_agents(config) as node:
        await node.bot().register()
        called = await call(node, timeout=60)
        node.agents.expire_soon(called)
        await wait_until(lambda: not node.agents._tasks)
        assert await state_of(node, called.task) == "working"
        assert called._timer is not None
        assert called._timer.when() > asyncio.get_running_loop().time() + 50
        called.stop()


async def test_a_reconnected_instance_of_another_user_is_refused(config: Config) -> None:
    async with node_agents(config) as node:
        bot, thief = node.bot(), node.bot("mallory", connection_id="thief")
        registered = await bot.register()
        with pytest.raises(Error, match="forbidden"):
            await thief.access.register("echo", [SAY], instance=registered["instance"])
        assert node.agents.channels.by_agent["echo"].instances == {
            registered["instance"]: instance(bot)
        }


async def test_an_instance_that_comes_back_has_its_tasks_again(config: Config) -> None:
    async with node_agents(config) as node:
        bot = node.bot()
        registered = await bot.register()
        called = await call(node)
        job = await bot.next()
        node.agents.leave(bot.connection)
        await wait_until(lambda: not node.agents._tasks)
        assert node.agents.instances == 0
        again = node.bot(connection_id="again")
        reply = await again.register(instance=registered["instance"])
        assert [held["task"] for held in reply["tasks"]] == [called.task]
        assert (await again.next())["task"] == job["task"]  # it may not have come
        await end(node, again, job)
        called.stop()


async def test_an_instance_that_is_elsewhere_by_now_is_taken_from_its_old_connection(
    config: Config,
) -> None:
    async with node_agents(config) as node:
        old, new = node.bot(), node.bot(connection_id="new")
        registered = await old.register()
        await new.register(instance=registered["instance"])
        assert instance(old) is None
        assert instance(new).id == registered["instance"]


async def test_a_registration_whose_connection_has_ended_is_undone(config: Config) -> None:
    async with node_agents(config) as node:
        bot = node.bot()
        store: Any = node.agents.store
        register, begun, go_on = store.register, asyncio.Event(), asyncio.Event()

        async def slow(*args: Any, **more: Any) -> Any:
            begun.set()
            await go_on.wait()
            return await register(*args, **more)

        store.register = slow
        registering = asyncio.create_task(bot.access.register("echo", [SAY]))
        await begun.wait()
        registering.cancel()
        await asyncio.wait([registering])
        assert node.agents.instances == 0
        go_on.set()
        await wait_until(lambda: not node.agents._tasks)
        (state,) = await store.read(["echo"])
        assert state.instances == []


async def test_what_is_said_of_a_task_that_is_not_its_own_is_dropped_and_counted(
    config: Config,
) -> None:
    async with node_agents(config) as node:
        bot = node.bot()
        await bot.register()
        (await call(node)).stop()
        job = await bot.next()
        with pytest.raises(Error, match="not_found"):
            await node.agents.report(
                instance(bot), update(bot, {**job, "task": "echo." + "x" * 22})
            )
        assert node.agents.dropped == 1
        await end(node, bot, job)
        with pytest.raises(Error, match="conflict") as ended:
            await node.agents.report(instance(bot), update(bot, job))
        assert ended.value.extra["state"] == "completed"
        assert node.agents.dropped == 2


async def test_a_report_waits_while_the_caller_can_not_keep_up(config: Config) -> None:
    async with node_agents(config) as node:
        bot = node.bot()
        await bot.register()
        called = await call(node)
        job = await bot.next()
        node.agents._throttle(called.task, pause=True)
        mine = instance(bot).tasks[called.task]
        await wait_until(lambda: not mine.resumed.is_set())
        reporting = asyncio.create_task(node.agents.report(instance(bot), update(bot, job)))
        await wait_until(lambda: mine.resumed._waiters)
        node.agents._throttle(called.task, pause=False)
        assert (await reporting).word == "ok"
        called.stop()


async def test_a_report_does_not_wait_for_a_caller_of_whom_nobody_hears(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.agents.agents._PAUSE_CHECK", 0)
    async with node_agents(config) as node:
        bot = node.bot()
        await bot.register()
        called = await call(node)
        job = await bot.next()
        await node.agents.store.hold(called.task, node="killed", wait=True)
        mine = instance(bot).tasks[called.task]
        await wait_until(lambda: not mine.resumed.is_set())
        reporting = asyncio.create_task(node.agents.report(instance(bot), update(bot, job)))
        await wait_until(reporting.done)
        assert (await reporting).word == "ok"
        called.stop()


async def test_a_connection_that_loses_the_scope_is_no_agent_any_more(config: Config) -> None:
    async with node_agents(config) as node:
        bot = node.bot()
        await bot.register()
        await node.agents.check_again(bot.connection)
        assert node.agents.instances == 1
        bot.connection.identify(Identity("bot"))
        await node.agents.check_again(bot.connection)
        assert node.agents.instances == 0
        assert instance(bot) is None
        node.agents.leave(bot.connection)  # no effect


async def test_an_instance_that_unregisters_is_handed_nothing_and_may_end_what_it_has(
    config: Config,
) -> None:
    async with node_agents(config) as node:
        bot = node.bot()
        await bot.register(capacity=2)
        called = await call(node)
        job = await bot.next()
        await node.agents.unregister(instance(bot))
        (await call(node)).stop()
        await end(node, bot, job)
        assert (await progress(called))[-1].state == "completed"
        assert bot.sent() == []
        called.stop()


async def test_what_a_channel_has_lost_is_read_from_the_history(config: Config) -> None:
    async with node_agents(config) as node:
        bot = node.bot()
        await bot.register()
        called = await call(node)
        job = await bot.next()
        node.is_deaf = True
        await end(node, bot, job)
        node.agents._on_gap(node.agents.channels.by_agent["echo"])
        assert (await progress(called))[-1].state == "completed"
        called.stop()


async def test_while_redis_is_away_what_can_not_be_done_is_logged(
    config: Config, logged: Any
) -> None:
    async with node_agents(config) as node:
        store: Any = node.agents.store

        async def away(*_: Any, **__: Any) -> Any:
            raise Error("unavailable")

        store.cancel = store.hold = away
        node.agents.cancel_soon("echo.x", Error("cancelled"))
        node.agents._throttle("echo.x", pause=True)
        await wait_until(lambda: not node.agents._tasks)
        assert "a task is left to its deadline" in logged()
        assert "an agent could not be paused or resumed" in logged()
