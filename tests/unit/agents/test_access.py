"""What clients may do with agents, and in which words they are refused what they may not."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import pytest

from jackfield.connection.request import CONNECTION_ENDED, Request
from jackfield.connection.running import MessageOptions
from jackfield.declaration.replies import Reply, Stated
from jackfield.wire.errors import Error
from jackfield.wire.protocol import MSGPACK
from tests.support.node_agents import COUNT, SAY, NodeAgents, Peer, decoded, node_agents
from tests.support.waiting import wait_until

Config = Mapping[str, Any]
STRANGER = "echo." + "x" * 22


class Calling:
    """A call of the agent ``echo``, and what its stream carries."""

    def __init__(self, caller: Peer, **options: Any) -> None:
        self.stream = caller.access.call("echo", "say", options.pop("input", {}), **options)
        self.task = ""

    async def next(self) -> Any:
        """The next chunk, or the state and the payload of what tells one."""
        item = await anext(self.stream)
        if isinstance(item, Stated):
            self.task = item.payload["task"]
            return item.state, decoded(item.payload)
        return decoded(item.payload if isinstance(item, Reply) else item)

    async def begun(self) -> "Calling":
        state, _ = await self.next()
        assert state == "submitted"
        return self

    async def leave(self) -> None:
        stream: Any = self.stream
        await stream.aclose()


async def begin(node: NodeAgents, user: str | None = "ada", **options: Any) -> Calling:
    return await Calling(node.caller(user), **options).begun()


async def refused(awaitable: Any) -> Error:
    with pytest.raises(Error) as error:
        await awaitable
    return error.value


def request_of(peer: Peer) -> Request[MessageOptions]:
    options = MessageOptions(
        "test", scopes=frozenset(), rate=None, streams=False, concurrent=False, timeout=None
    )
    request = Request(peer.connection, options, 1, {})
    peer.access._request = request
    return request


@pytest.fixture
async def node(config: Config) -> AsyncIterator[NodeAgents]:
    async with node_agents(config, limits={"event_bytes": 4096}) as node:
        yield node


@pytest.fixture
async def bot(node: NodeAgents) -> Peer:
    bot = node.bot()
    await bot.register(SAY, COUNT, capacity=3)
    return bot


# Callers.


async def test_agents_are_listed_with_how_busy_they_are(node: NodeAgents, bot: Peer) -> None:
    calling = await begin(node)
    node.agents.directory.invalidate()
    (agent,) = await node.caller().access.list()
    assert decoded(agent) == {
        "name": "echo",
        "skills": [SAY, COUNT],
        "instances": 1,
        "capacity": 3,
        "running": 1,
        "queued": 0,
    }
    assert len(await node.caller().access.list("say")) == 1
    assert await node.caller().access.list("sing") == []
    await calling.leave()


async def test_a_call_streams_what_the_agent_says_and_ends_with_its_output(
    node: NodeAgents, bot: Peer
) -> None:
    calling = Calling(node.caller(), input={"text": "hi"})
    state, submitted = await calling.next()
    assert state == submitted["state"] == "submitted"
    assert submitted["caller"] == "ada"
    assert "input" not in submitted
    job = await bot.next()
    state, working = await calling.next()
    assert (state, working["attempt"], working["seq"]) == ("working", 1, 0)
    await bot.access.update(job["task"], 1, seq=0, chunks=[{"n": 1}, {"n": 2}])
    assert [await calling.next(), await calling.next()] == [{"n": 1}, {"n": 2}]
    prompt = {"message": "Sure?", "schema": {"type": "object"}}
    await bot.access.update(job["task"], 1, state="input_required", prompt=prompt)
    state, asked = await calling.next()
    assert (state, asked["seq"]) == ("input_required", 2)
    assert asked["prompt"].pop("expires_at") > 0
    assert asked["prompt"] == prompt
    await bot.access.update(job["task"], 1, state="working")
    assert "prompt" not in (await calling.next())[1]
    await bot.access.complete(job["task"], 1, {"said": "hi"})
    assert await calling.next() == {
        "task": job["task"],
        "state": "completed",
        "output": {"said": "hi"},
    }
    with pytest.raises(StopAsyncIteration):
        await anext(calling.stream)


async def test_a_detached_call_answers_at_once_and_goes_on(node: NodeAgents, bot: Peer) -> None:
    calling = Calling(node.caller(), detach=True)
    reply = await calling.next()
    assert reply["state"] == "submitted"
    with pytest.raises(StopAsyncIteration):
        await anext(calling.stream)
    assert (await bot.next())["task"] == reply["task"]
    assert node.agents.followed == 0


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_call_that_is_left_is_canceled_unless_its_caller_may_come_back(
    node: NodeAgents, bot: Peer, key: str | None
) -> None:
    calling = await begin(node, key=key)
    await bot.next()
    await calling.leave()
    await wait_until(lambda: not node.agents._tasks)
    task = await node.caller().access.task(calling.task)
    assert task["state"] == ("working" if key else "canceled")
    if key is None:
        assert decoded(task)["error"]["message"] == "The caller has left."


@pytest.mark.parametrize(
    ("stopped", "state"),
    [(Error("cancelled"), "canceled"), (CONNECTION_ENDED, "working"), (None, "working")],
)
async def test_a_call_with_a_key_is_canceled_by_its_cancellation_alone(
    node: NodeAgents, bot: Peer, stopped: Error | None, state: str
) -> None:
    ada = node.caller()
    request = request_of(ada)
    calling = await Calling(ada, key="k").begun()
    await bot.next()
    request.stop_reason = stopped
    await calling.leave()
    await wait_until(lambda: not node.agents._tasks)
    assert (await node.caller().access.task(calling.task))["state"] == state


async def test_a_key_is_its_callers_own(node: NodeAgents, bot: Peer) -> None:
    async def task_of(user: str | None, connection_id: str) -> str:
        caller = node.caller(user, connection_id=connection_id)
        reply = await Calling(caller, key="k", detach=True).next()
        return str(reply["task"])

    ada = await task_of("ada", "one")
    assert await task_of("ada", "two") == ada
    others = [await task_of(*who) for who in (("bob", "x"), (None, "a"), (None, "b"))]
    assert len({ada, *others}) == 4
    assert await task_of(None, "a") == others[1]  # an anonymous caller's connection is all it has


async def test_a_task_is_shown_in_the_clients_encoding(node: NodeAgents, bot: Peer) -> None:
    calling = await begin(node, input={"text": "hi"})
    packed = node.caller(codec=MSGPACK)
    assert (await packed.access.task(calling.task))["input"] == {"text": "hi"}
    await calling.leave()


async def test_a_task_is_seen_by_its_caller_and_by_whom_that_has_named(
    node: NodeAgents, bot: Peer
) -> None:
    calling = await begin(node, watchers=["bob"])
    for user, sees in (("ada", True), ("bob", True), ("eve", False), (None, False)):
        access = node.caller(user).access
        assert await access.may_see(calling.task) is sees
        if not sees:
            assert (await refused(access.task(calling.task))).code == "not_found"
    for task in (STRANGER, "nonsense"):
        assert not await node.caller().access.may_see(task)
        assert (await refused(node.caller().access.task(task))).code == "not_found"
    await calling.leave()


async def test_the_task_of_an_anonymous_caller_is_seen_by_who_knows_its_id(
    node: NodeAgents, bot: Peer
) -> None:
    calling = await begin(node, None)
    assert await node.caller("anybody").access.may_see(calling.task)
    await calling.leave()


async def test_that_redis_is_away_does_not_hide_a_task(node: NodeAgents, bot: Peer) -> None:
    store: Any = node.agents.store

    async def away(_: str) -> Any:
        raise Error("unavailable")

    store.read_task = away
    assert (await refused(node.caller().access.may_see(STRANGER))).code == "unavailable"


async def test_only_its_caller_cancels_and_answers_a_task(node: NodeAgents, bot: Peer) -> None:
    calling = await begin(node, watchers=["bob"])
    job = await bot.next()
    await bot.access.update(job["task"], 1, state="input_required")
    bob, ada = node.caller("bob").access, node.caller().access
    for asked in (bob.cancel(calling.task), bob.answer(calling.task, {})):
        assert (await refused(asked)).code == "not_found"
    assert (await ada.answer(calling.task, {"yes": True}))["state"] == "working"
    assert (await bot.next("answered"))["input"] == {"yes": True}
    canceled = decoded(await ada.cancel(calling.task, "changed my mind"))
    assert (canceled["state"], canceled["error"]["message"]) == ("canceled", "changed my mind")
    assert (await ada.cancel(calling.task))["error"] == (await ada.task(calling.task))["error"]
    assert (await bot.next("canceled"))["task"] == calling.task


async def test_an_answer_must_fit_what_is_asked_for_and_something_must_be(
    node: NodeAgents, bot: Peer
) -> None:
    calling = await begin(node)
    ada = node.caller().access
    error = await refused(ada.answer(calling.task, {}))
    assert (error.code, error.extra["state"]) == ("conflict", "working")
    schema = {"type": "object", "required": ["yes"]}
    await bot.access.update(
        (await bot.next())["task"], 1, state="input_required", prompt={"schema": schema}
    )
    assert (await refused(ada.answer(calling.task, {}))).code == "invalid_payload"
    await ada.answer(calling.task, {"yes": 1}, "k")
    await ada.answer(calling.task, {"yes": 1}, "k")  # sent again
    await calling.leave()


# Agents.


async def test_an_instance_learns_its_id_its_lease_and_the_tasks_it_has(
    node: NodeAgents, bot: Peer
) -> None:
    calling = await begin(node)
    reply = await bot.register(capacity=2)
    assert reply["lease"] == node.agents.settings.lease
    assert [held["task"] for held in reply["tasks"]] == [calling.task]
    assert reply["tasks"][0] | {"task": ""} == {
        "task": "",
        "attempt": 1,
        "seq": 0,
        "state": "working",
    }
    await calling.leave()


async def test_what_an_instance_is_sent_comes_behind_the_reply_to_its_registration(
    node: NodeAgents,
) -> None:
    bot = node.bot()
    request = request_of(bot)
    await bot.access.register("echo", [SAY])
    calling = await begin(node)
    mine = bot.access._instance()
    await wait_until(lambda: mine.tasks)
    assert bot.sent() == []
    request.replied()
    assert (await bot.next())["task"] == calling.task
    await calling.leave()


async def test_a_connection_is_one_instance_of_one_agent(node: NodeAgents, bot: Peer) -> None:
    for name, instance in (("other", None), ("echo", "another")):
        asked = bot.access.register(name, [SAY], instance=instance)
        assert (await refused(asked)).code == "conflict"
    own = bot.access._instance().id
    assert (await bot.access.register("echo", [SAY], instance=own))["instance"] == own


async def test_the_skills_of_an_agent_are_checked(node: NodeAgents) -> None:
    bot = node.bot()
    twice = await refused(bot.access.register("echo", [SAY, SAY]))
    (fault,) = twice.extra["fields"]
    assert (fault["pointer"], fault["code"]) == ("/skills/1/id", "duplicate")
    wrong = await refused(bot.access.register("echo", [SAY, {"id": "x", "input": {"type": 5}}]))
    assert all(fault["pointer"].startswith("/skills/1/input") for fault in wrong.extra["fields"])
    assert bot.access._registered is None


async def test_who_is_no_instance_can_not_report(node: NodeAgents) -> None:
    access = node.bot().access
    await access.unregister()  # no effect
    for asked in (
        access.update(STRANGER, 1),
        access.complete(STRANGER, 1, {}),
        access.fail(STRANGER, 1, "no"),
    ):
        assert (await refused(asked)).code == "conflict"


async def test_chunks_that_are_sent_again_are_added_once_and_missing_ones_are_told(
    node: NodeAgents, bot: Peer
) -> None:
    calling = await begin(node)
    task = (await bot.next())["task"]
    chunks = [{"n": number} for number in range(4)]
    assert (await bot.access.update(task, 1, seq=0, chunks=chunks[:2]))["seq"] == 2
    assert (await bot.access.update(task, 1, seq=0, chunks=chunks))["seq"] == 4
    error = await refused(bot.access.update(task, 1, seq=6, chunks=chunks))
    assert (error.code, error.extra["seq"]) == ("conflict", 4)
    assert (await calling.next())[0] == "working"
    assert [await calling.next() for _ in range(4)] == chunks
    await calling.leave()


async def test_an_update_and_an_output_have_a_bounded_size(node: NodeAgents, bot: Peer) -> None:
    calling = await begin(node)
    task = (await bot.next())["task"]
    large = {"x": "x" * 4096}
    for asked in (
        bot.access.update(task, 1, seq=0, chunks=[large]),
        bot.access.update(task, 1, state="input_required", prompt={"message": "x" * 4096}),
        bot.access.complete(task, 1, large),
    ):
        error = await refused(asked)
        assert (error.code, error.extra["limit"]) == ("too_large", 4096)
    await calling.leave()


async def test_a_prompt_with_a_wrong_schema_is_refused_with_where_it_is_wrong(
    node: NodeAgents, bot: Peer
) -> None:
    calling = await begin(node)
    task = (await bot.next())["task"]
    prompt = {"schema": {"type": "nonsense"}}
    error = await refused(bot.access.update(task, 1, state="input_required", prompt=prompt))
    assert error.extra["fields"][0]["pointer"].startswith("/prompt/schema")
    await calling.leave()


async def test_more_events_than_are_kept_are_refused(config: Config) -> None:
    async with node_agents(config, agents={"events": 100}) as node:
        await (bot := node.bot()).register()
        calling = await begin(node)
        task = (await bot.next())["task"]

        async def stream() -> None:
            for number in range(101):
                await bot.access.update(task, 1, seq=number, chunks=[{"n": number}])

        assert (await refused(stream())).code == "too_large"
        await bot.access.complete(task, 1, {})
        await calling.leave()


@pytest.mark.parametrize(("rejected", "state"), [(False, "failed"), (True, "rejected")])
async def test_why_a_task_has_failed_is_told_to_its_caller(
    node: NodeAgents, bot: Peer, *, rejected: bool, state: str
) -> None:
    calling = await begin(node)
    task = (await bot.next())["task"]
    reply = await bot.access.fail(task, 1, "no voice", code="hoarse", rejected=rejected)
    assert reply == {"task": task, "state": state}
    assert (await calling.next())[0] == "working"
    error = await refused(calling.next())
    assert (error.code, error.message, error.extra["reason"]) == (
        "agent_failed",
        "no voice",
        "hoarse",
    )
    assert error.extra["state"] == state


async def test_who_unregisters_takes_no_more_tasks(node: NodeAgents, bot: Peer) -> None:
    await bot.access.unregister()
    calling = await begin(node)
    async with aclosing(calling.stream):  # type: ignore[type-var]
        assert bot.sent() == []
