"""What becomes of tasks: states, questions, deadlines, cancelling, and who may see all that."""

from collections.abc import Mapping
from typing import Any

import pytest

from jackfield.testing import RunningServer
from tests.support.agents import Bot, Caller, agent_nodes, refused, sweep
from tests.support.topics import Message, offsets
from tests.support.waiting import wait_until

Config = Mapping[str, Any]


@pytest.fixture
async def bot(bot: Bot) -> Bot:
    await bot.register(capacity=5)
    return bot


async def test_a_task_tells_all_of_its_life(bot: Bot, ada: Caller) -> None:
    called = await ada.begin(input={"text": "hi"}, timeout=60)
    submitted = await ada.task(called.task)
    job = await bot.told()
    await bot.update(job, {"n": 1}, {"n": 2}, seq=0)
    await bot.complete(job, said="hi")
    task = await ada.task(called.task)
    assert task == {
        "task": called.task,
        "agent": "echo",
        "skill": "say",
        "caller": "ada",
        "created_at": submitted["created_at"],
        "deadline": submitted["created_at"] + 60,
        "state": "completed",
        "attempt": 1,
        "seq": 2,
        "input": {"text": "hi"},
        "output": {"said": "hi"},
    }


@pytest.mark.parametrize(("rejected", "state"), [(False, "failed"), (True, "rejected")])
async def test_a_task_fails_with_the_words_of_its_agent(
    bot: Bot, ada: Caller, *, rejected: bool, state: str
) -> None:
    called = await ada.begin()
    job = await bot.told()
    answer = await bot.fail(job, "Not today.", code="closed", rejected=rejected)
    assert answer["payload"]["state"] == state
    error = await called.error()
    assert error == {
        "code": "agent_failed",
        "message": "Not today.",
        "retryable": False,
        "task": called.task,
        "state": state,
        "reason": "closed",
    }
    assert (await ada.task(called.task))["error"] == error


@pytest.mark.parametrize("state", ["input_required", "auth_required"])
async def test_an_agent_asks_and_its_caller_answers(bot: Bot, ada: Caller, state: str) -> None:
    called = await ada.begin()
    job = await bot.told()
    await called.news("working")
    schema = {"type": "object", "required": ["sure"], "properties": {"sure": {"type": "boolean"}}}
    asked = await bot.update(job, state=state, prompt={"message": "Sure?", "schema": schema})
    assert asked["payload"]["state"] == state
    prompt = (await called.news(state))["prompt"]
    assert (prompt["message"], prompt["schema"]) == ("Sure?", schema)
    assert (await ada.task(called.task))["prompt"] == prompt
    wrong = await ada.error("agent.answer", task=called.task, input={"sure": "yes"})
    assert wrong["code"] == "invalid_payload"
    assert [fault["pointer"] for fault in wrong["fields"]] == ["/input/sure"]
    task = await ada.reply("agent.answer", task=called.task, input={"sure": True})
    assert task["state"] == "working"
    assert "prompt" not in task
    told = await bot.told("answered")
    assert (told["task"], told["attempt"], told["input"]) == (called.task, 1, {"sure": True})
    await called.news("working")
    await bot.complete(job)
    assert await called.output() == {}


async def test_what_is_asked_needs_no_words_and_no_schema(bot: Bot, ada: Caller) -> None:
    called = await ada.begin()
    job = await bot.told()
    assert (await bot.update(job, state="input_required"))["type"] == "reply"
    assert (await ada.task(called.task))["prompt"]["message"] == ""
    await ada.reply("agent.answer", task=called.task, input={"whatever": [1]})
    assert (await bot.told("answered"))["input"] == {"whatever": [1]}


async def test_an_answer_with_a_key_is_given_once_and_the_next_question_is_another(
    bot: Bot, ada: Caller
) -> None:
    called = await ada.begin()
    job = await bot.told()
    await bot.ask_for(job, message="first?")
    answer = {"task": called.task, "input": {"n": 1}, "key": "first"}
    await ada.reply("agent.answer", **answer)
    assert (await bot.told("answered"))["input"] == {"n": 1}
    assert (await ada.reply("agent.answer", **answer))["state"] == "working"
    again = await ada.error("agent.answer", task=called.task, input={}, key="another")
    assert (again["code"], again["state"]) == ("conflict", "working")
    await bot.ask_for(job, message="second?")
    assert (await ada.reply("agent.answer", **answer))["state"] == "input_required"
    assert await bot.hears_nothing_more()
    await ada.reply("agent.answer", task=called.task, input={"n": 2}, key="second")
    assert (await bot.told("answered"))["input"] == {"n": 2}


async def test_an_agent_may_go_on_without_an_answer(bot: Bot, ada: Caller) -> None:
    called = await ada.begin()
    job = await bot.told()
    await bot.ask_for(job, message="?")
    assert (await bot.update(job, state="working"))["payload"]["state"] == "working"
    late = await ada.error("agent.answer", task=called.task, input={})
    assert late["code"] == "conflict"


async def test_a_question_that_nobody_answers_in_time_fails_the_task(
    servers: list[RunningServer], bot: Bot, ada: Caller
) -> None:
    called = await ada.begin()
    job = await bot.told()
    answer = await bot.ask_for(job, message="?", expires=0.001)
    assert answer["payload"]["state"] == "input_required"

    async def has_failed() -> bool:
        await sweep(servers[0])
        return await ada.sees_state(called.task, "failed")

    await wait_until(has_failed)
    assert (await bot.told("canceled"))["error"]["code"] == "timeout"
    error = await called.error()
    assert (error["code"], error["task"]) == ("timeout", called.task)


async def test_only_legal_moves_are_made(bot: Bot, ada: Caller) -> None:
    called = await ada.begin()
    job = await bot.told()
    assert (await bot.update(job, state="working"))["payload"]["state"] == "working"  # it is
    for state in ("submitted", "completed", "canceled", "nonsense"):
        assert refused(await bot.update(job, state=state)) == "invalid_payload"
    assert refused(await bot.update(job, {"n": 1})) == "invalid_payload"  # without its number
    assert refused(await bot.update(job, prompt={})) == "invalid_payload"  # nothing is asked
    bad_schema = {"schema": {"type": "nonsense"}}
    error = (await bot.update(job, state="input_required", prompt=bad_schema))["error"]
    assert error["fields"][0]["pointer"] == "/prompt/schema/type"
    await bot.ask_for(job)
    again = (await bot.update(job, state="auth_required"))["error"]
    assert (again["code"], again["state"]) == ("conflict", "input_required")
    assert (await bot.complete(job))["type"] == "reply"  # an agent may know better meanwhile
    for late in (
        await bot.update(job, {"n": 1}, seq=0),
        await bot.fail(job, "no"),
        await bot.update(job, state="working"),
    ):
        assert (refused(late), late["error"]["state"]) == ("conflict", "completed")
    assert "prompt" not in await ada.task(called.task)


async def test_chunks_are_taken_once_and_in_order(bot: Bot, ada: Caller) -> None:
    called = await ada.begin()
    job = await bot.told()
    await called.news("working")
    one, two, three, four = ({"n": n} for n in range(1, 5))
    assert (await bot.update(job, one, two, seq=0))["payload"]["seq"] == 2
    assert (await bot.update(job, one, two, seq=0))["payload"]["seq"] == 2  # said again
    assert (await bot.update(job, two, seq=1))["payload"]["seq"] == 2
    assert (await bot.update(job, two, three, seq=1))["payload"]["seq"] == 3  # one of them is new
    ahead = (await bot.update(job, four, seq=4))["error"]
    assert (ahead["code"], ahead["seq"]) == ("conflict", 3)
    assert (await bot.update(job, four, seq=3))["payload"]["seq"] == 4
    assert [await called.chunk() for _ in range(4)] == [one, two, three, four]


async def test_what_is_too_much_is_refused_and_the_task_goes_on(config: Config) -> None:
    limited = {**config, "limits": {"event_bytes": 1024}}
    async with (
        agent_nodes(limited, events=100) as (server,),
        Bot(server) as bot,
        Caller(server, "ada") as ada,
    ):
        await bot.register()
        called = await ada.begin()
        job = await bot.told()
        await called.news("working")
        large = await bot.update(job, {"x": "x" * 1024}, seq=0)
        assert (refused(large), large["error"]["limit"]) == ("too_large", 1024)
        assert refused(await bot.complete(job, x="x" * 1024)) == "too_large"
        sent = 0
        while (answer := await bot.update(job, {"n": sent}, seq=sent))["type"] == "reply":
            sent += 1
        assert refused(answer) == "too_large"
        assert sent > 50
        assert [(await called.chunk())["n"] for _ in range(sent)] == list(range(sent))
        await bot.complete(job)
        assert await called.output() == {}
        history = await ada.subscribe(f"task:{called.task}")
        assert offsets(history["events"]) == list(range(1, sent + 4))  # nothing fell off its start


@pytest.mark.parametrize("is_running", [True, False])
async def test_a_task_ends_at_its_deadline(
    bot: Bot, ada: Caller, servers: list[RunningServer], *, is_running: bool
) -> None:
    if not is_running:
        await bot.reply("agent.unregister")
    called = await ada.begin(timeout=0.3)
    if is_running:
        job = await bot.told()
        assert (await bot.told("canceled"))["error"]["code"] == "timeout"
        late = await bot.complete(job)
        assert (refused(late), late["error"]["state"]) == ("conflict", "failed")
    error = await called.error()
    assert (error["code"], error["task"], error["retryable"]) == ("timeout", called.task, True)
    assert await ada.sees_state(called.task, "failed")
    assert servers[0].node.agents.dropped == int(is_running)


async def test_the_deadline_of_a_task_that_nobody_follows_is_kept_by_a_sweep(
    servers: list[RunningServer], bot: Bot, ada: Caller
) -> None:
    detached = await ada.reply("agent.call", agent="echo", detach=True, timeout=0.001)
    await bot.told()

    async def has_failed() -> bool:
        await sweep(servers[0])
        return await ada.sees_state(detached["task"], "failed")

    await wait_until(has_failed)
    assert (await bot.told("canceled"))["error"]["code"] == "timeout"


async def test_no_call_may_take_longer_than_is_allowed(config: Config) -> None:
    async with (
        agent_nodes(config, timeout="10s", max_timeout="20s") as (server,),
        Bot(server) as bot,
        Caller(server, "ada") as ada,
    ):
        await bot.register(capacity=2)
        wishes: tuple[tuple[Message, int], ...] = (({}, 10), ({"timeout": 1e9}, 20))
        for wanted, given in wishes:
            task = await ada.task((await ada.begin(**wanted)).task)
            assert task["deadline"] - task["created_at"] == pytest.approx(given)


async def test_a_caller_cancels_a_task_and_its_agent_is_told_why(bot: Bot, ada: Caller) -> None:
    called = await ada.begin()
    job = await bot.told()
    task = await ada.reply("agent.cancel", task=called.task, reason="No more.")
    assert task["state"] == "canceled"
    told = await bot.told("canceled")
    assert (told["task"], told["attempt"]) == (called.task, 1)
    error = await called.error()
    assert error == told["error"] == task["error"]
    assert (error["code"], error["message"]) == ("cancelled", "No more.")
    late = await bot.complete(job)
    assert (refused(late), late["error"]["state"]) == ("conflict", "canceled")
    assert (await ada.reply("agent.cancel", task=called.task))["error"] == error  # it stays so


async def test_a_task_that_waits_is_cancelled_and_never_handed_out(bot: Bot, ada: Caller) -> None:
    await bot.reply("agent.unregister")
    first, second = await ada.begin(), await ada.begin()
    await ada.reply("agent.cancel", task=first.task)
    await bot.register()
    assert (await bot.told())["task"] == second.task
    assert await bot.hears_nothing_more()


@pytest.mark.parametrize("key", [{}, {"key": "kept"}])
async def test_a_call_that_is_cancelled_as_a_request_cancels_its_task(
    bot: Bot, ada: Caller, key: Message
) -> None:
    called = await ada.begin(**key)
    await bot.told()
    assert await ada.reply("request.cancel", id=called.id) == {"cancelled": True}
    assert (await called.error())["code"] == "cancelled"
    assert (await bot.told("canceled"))["task"] == called.task
    await wait_until(lambda: ada.sees_state(called.task, "canceled"))


async def test_a_call_ends_with_the_connection_of_its_caller(
    servers: list[RunningServer], bot: Bot
) -> None:
    async with Caller(servers[1], "ada") as ada:
        called = await ada.begin()
        await bot.told()
    assert (await bot.told("canceled"))["task"] == called.task
    async with Caller(servers[0], "ada") as ada:
        assert await ada.sees_state(called.task, "canceled")


async def test_a_call_that_is_detached_goes_on_without_its_caller(
    servers: list[RunningServer], bot: Bot
) -> None:
    async with Caller(servers[1], "ada") as ada:
        answer = await ada.request("agent.call", agent="echo", detach=True)
        assert answer["type"] == "reply"  # and no chunk before it
        detached = answer["payload"]
        assert detached.keys() == {"task", "state"}
    job = await bot.told()
    assert job["task"] == detached["task"]
    await bot.complete(job, done=True)
    async with Caller(servers[0], "ada") as ada:
        assert (await ada.task(job["task"]))["output"] == {"done": True}
