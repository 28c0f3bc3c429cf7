"""Agents are registered and called, through real nodes and a real Valkey."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from jackfield.testing import RunningServer
from tests.support import wait_until
from tests.topics import Member, Message, nodes
from tests.workers import Call, Worker, call, of, story

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}


@pytest.fixture
async def two(config: Mapping[str, Any]) -> AsyncIterator[list[RunningServer]]:
    async with nodes(config) as servers:
        yield servers


@pytest.fixture
async def enter() -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        yield stack.enter_async_context


async def test_a_call_goes_through_two_nodes_and_comes_back(two: Any, enter: Any) -> None:
    worker, ada = await enter(Worker(two[0])), await enter(Member(two[1], "ada"))
    await worker.register()
    made = await call(ada, input={"text": "hi"})
    task = await worker.assigned()
    assert task["task"] == made.task
    assert (task["agent"], task["skill"], task["caller"]) == ("echo", "say", "ada")
    assert (task["input"], task["attempt"], task["seq"]) == ({"text": "hi"}, 1, 0)
    assert await worker.update(task, {"n": 1}, {"n": 2}) == {
        "task": made.task,
        "state": "working",
        "seq": 2,
    }
    await worker.update(task, {"n": 3}, seq=2)
    assert await worker.complete(task, text="ih") == {"task": made.task, "state": "completed"}
    assert await made.output() == {"text": "ih"}
    assert made.states == ["submitted", "working"]
    assert made.chunks == [{"n": 1}, {"n": 2}, {"n": 3}]


async def test_what_an_agent_streams_reaches_its_caller_as_it_was_sent(
    two: Any, enter: Any
) -> None:
    worker, ada = await enter(Worker(two[0])), await enter(Member(two[1], "ada"))
    await worker.register()
    made = await call(ada)
    events = [
        {"type": "RUN_STARTED", "threadId": "t", "runId": "r"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": 'Grüße \u2028 \\ "'},
        {"type": "STATE_DELTA", "delta": [{"op": "add", "path": "/a", "value": [None, 1.5, {}]}]},
    ]
    task = await worker.assigned()
    await worker.update(task, *events)
    await worker.complete(task)
    assert await made.output() == {}
    assert made.chunks == events


@pytest.mark.parametrize(
    ("payload", "pointer", "code"),
    [
        ({"name": "Echo", "skills": [{"id": "a"}]}, "/name", "regexp"),
        ({"name": "a.b", "skills": [{"id": "a"}]}, "/name", "regexp"),
        ({"name": "a", "skills": []}, "/skills", "length"),
        ({"name": "a", "skills": [{"id": "a b"}]}, "/skills/0/id", "regexp"),
        ({"name": "a", "skills": [{"id": "a"}, {"id": "a"}]}, "/skills/1/id", "duplicate"),
        ({"name": "a", "skills": [{"id": "a"}], "capacity": 0}, "/capacity", "range"),
        ({"name": "a", "skills": [{"id": "a"}], "instance": "x"}, "/instance", "regexp"),
        (
            {"name": "a", "skills": [{"id": "a", "input": {"type": "strin"}}]},
            "/skills/0/input/type",
            None,
        ),
        (
            {"name": "a", "skills": [{"id": "a", "input": {"$ref": "http://127.0.0.1/x"}}]},
            "/skills/0/input/$ref",
            "reference",
        ),
    ],
)
async def test_a_wrong_registration_is_refused_in_words(
    two: Any, enter: Any, payload: Message, pointer: str, code: str | None
) -> None:
    worker = await enter(Worker(two[0]))
    error = await worker.error("agent.register", **payload)
    assert error["code"] == "invalid_payload"
    (fault,) = error["fields"]
    assert fault["pointer"] == pointer
    assert code in (None, fault["code"])
    assert (await worker.reply("agent.list"))["agents"] == []


async def test_only_who_has_the_scope_can_be_an_agent(two: Any, enter: Any) -> None:
    ada = await enter(Member(two[0], "ada"))
    for verb in ("register", "unregister", "update", "complete", "fail"):
        error = await ada.error(f"agent.{verb}")
        assert (error["code"], error["scopes"]) == ("forbidden", ["agent"])


async def test_a_connection_is_one_agent(two: Any, enter: Any) -> None:
    worker = await enter(Worker(two[0]))
    first = await worker.register("echo")
    assert (await worker.error("agent.register", name="other", skills=[{"id": "a"}]))[
        "code"
    ] == "conflict"
    again = await worker.register("echo", skills=[{"id": "sing"}], capacity=7)
    assert again["instance"] == first["instance"]
    (listed,) = (await worker.reply("agent.list", skill="sing"))["agents"]
    assert (listed["instances"], listed["capacity"]) == (1, 7)


async def test_who_has_not_registered_can_report_nothing(two: Any, enter: Any) -> None:
    worker = await enter(Worker(two[0]))
    error = await worker.error("agent.complete", task="echo." + "x" * 22, attempt=1)
    assert error["code"] == "conflict"


async def test_agents_are_listed_with_their_skills_and_how_busy_they_are(
    two: Any, enter: Any
) -> None:
    workers = [await enter(Worker(server)) for server in two]
    ada = await enter(Member(two[0], "ada"))
    skills = [
        {"id": "say", "description": "Say it.", "input": SCHEMA, "idempotent": True},
        {"id": "sing"},
    ]
    for worker in workers:
        await worker.register(skills=skills, capacity=2)
    await call(ada, skill="sing")
    await wait_until(lambda: two[0].node.agents.following == 1)
    two[0].node.agents.directory.forget()
    (listed,) = (await ada.reply("agent.list"))["agents"]
    assert sorted(listed.pop("skills"), key=lambda skill: skill["id"]) == skills
    assert listed == {"name": "echo", "instances": 2, "capacity": 4, "running": 1, "queued": 0}
    assert (await ada.reply("agent.list", skill="none"))["agents"] == []


async def test_who_is_called_is_named_by_agent_or_skill_or_both(two: Any, enter: Any) -> None:
    one, other = await enter(Worker(two[0])), await enter(Worker(two[1]))
    ada = await enter(Member(two[0], "ada"))
    await one.register("one", skills=[{"id": "a"}, {"id": "both"}])
    await other.register("other", skills=[{"id": "b"}, {"id": "both"}])
    await call(ada, None, skill="b")
    assert (await other.assigned())["skill"] == "b"
    await call(ada, "one", skill="both")
    assert (await one.assigned())["skill"] == "both"
    several = await ada.error("agent.call", agent="one")
    assert several["code"] == "invalid_payload"
    assert several["fields"][0]["pointer"] == "/skill"
    assert "a, both" in several["fields"][0]["message"]
    nobody = await ada.error("agent.call")
    assert (nobody["code"], nobody["fields"][0]["pointer"]) == ("invalid_payload", "/agent")
    for missing in ({"agent": "none"}, {"skill": "none"}, {"agent": "one", "skill": "b"}):
        assert (await ada.error("agent.call", **missing))["code"] == "not_found"


async def test_an_input_is_checked_before_the_agent_sees_it(two: Any, enter: Any) -> None:
    worker, ada = await enter(Worker(two[0])), await enter(Member(two[1], "ada"))
    await worker.register(skills=[{"id": "say", "input": SCHEMA}])
    for given, fault in (
        ({}, ("/input/text", "required")),
        ({"text": 1}, ("/input/text", "type")),
        ({"text": "", "more": 1}, ("/input/more", "unknown")),
    ):
        error = await ada.error("agent.call", agent="echo", input=given)
        assert error["code"] == "invalid_payload"
        assert [(each["pointer"], each["code"]) for each in error["fields"]] == [fault]
    await call(ada, input={"text": "right"})
    assert (await worker.assigned())["input"] == {"text": "right"}


async def test_a_skill_that_has_changed_is_checked_by_its_new_schema(two: Any, enter: Any) -> None:
    worker, ada = await enter(Worker(two[0])), await enter(Member(two[1], "ada"))
    await worker.register(skills=[{"id": "say", "input": SCHEMA}])
    await ada.reply("agent.list")  # so that this node knows it
    await worker.register(skills=[{"id": "say", "input": {"required": ["number"]}}])
    error = await ada.error("agent.call", agent="echo", input={"text": "a"})
    assert error["fields"][0]["pointer"] == "/input/number"
    await call(ada, input={"number": 1})
    assert (await worker.assigned())["input"] == {"number": 1}


async def test_the_least_busy_instance_is_called(two: Any, enter: Any) -> None:
    small, large = await enter(Worker(two[0])), await enter(Worker(two[1]))
    ada = await enter(Member(two[0], "ada"))
    await small.register(capacity=1)
    await large.register(capacity=3)
    calls = [await call(ada) for _ in range(4)]
    tasks = {(await small.assigned())["task"]} | {
        (await large.assigned())["task"] for _ in range(3)
    }
    assert tasks == {each.task for each in calls}
    waiting = await call(ada)
    assert await small.hears_nothing_more()
    assert await large.hears_nothing_more()
    await large.complete({"task": calls[-1].task, "attempt": 1}) if calls[
        -1
    ].task in tasks else None
    assert waiting.states == ["submitted"]


async def test_calls_wait_for_an_instance_and_are_taken_in_their_order(
    two: Any, enter: Any
) -> None:
    worker, ada = await enter(Worker(two[0])), await enter(Member(two[1], "ada"))
    await worker.register(capacity=1)
    calls = [await call(ada, input={"n": n}) for n in range(3)]
    for n, made in enumerate(calls):
        task = await worker.assigned()
        assert (task["task"], task["input"]) == (made.task, {"n": n})
        await worker.complete(task, n=n)
        assert await made.output() == {"n": n}


async def test_an_agent_that_is_away_can_be_called_and_does_it_when_it_comes(
    two: Any, enter: Any
) -> None:
    ada = await enter(Member(two[1], "ada"))
    async with Worker(two[0]) as gone:
        await gone.register()
        await gone.reply("agent.unregister")
    made = await call(ada)
    worker = await enter(Worker(two[0]))
    await worker.register()
    await worker.complete(await worker.assigned(), done=True)
    assert await made.output() == {"done": True}


async def test_no_more_calls_wait_than_may(config: Any, enter: Any) -> None:
    async with nodes({**config, "agents": {"queue": 2}}) as two:
        worker, ada = await enter(Worker(two[0])), await enter(Member(two[1], "ada"))
        await worker.register(capacity=1)
        calls = [await call(ada) for _ in range(3)]
        error = await ada.error("agent.call", agent="echo")
        assert (error["code"], error["retryable"]) == ("unavailable", True)
        assert error["retry_after"] > 0
        await worker.complete(await worker.assigned())
        await calls[0].output()
        await call(ada)


async def test_the_messages_of_a_full_queue_are_all_answered(config: Any, enter: Any) -> None:
    async with nodes({**config, "agents": {"queue": 5}}) as two:
        worker, ada = await enter(Worker(two[0])), await enter(Member(two[1], "ada"))
        await worker.register(capacity=2)
        sent = [await ada.post("agent.call", agent="echo", detach=True) for _ in range(20)]
        answers = [await ada.answer(each) for each in sent]
        assert Counter(answer["type"] for answer in answers) == {"reply": 7, "error": 13}


async def test_unregistered_an_agent_ends_what_it_has_and_gets_no_more(
    two: Any, enter: Any
) -> None:
    worker, ada = await enter(Worker(two[0])), await enter(Member(two[1], "ada"))
    await worker.register(capacity=2)
    made = await call(ada)
    task = await worker.assigned()
    await worker.reply("agent.unregister")
    waiting = await call(ada)
    assert await worker.hears_nothing_more()
    await worker.complete(task, last=True)
    assert await made.output() == {"last": True}
    assert await worker.hears_nothing_more()
    assert waiting.states == ["submitted"]


async def test_a_call_with_a_key_is_one_task_for_its_user(two: Any, enter: Any) -> None:
    worker = await enter(Worker(two[0]))
    ada, ben = await enter(Member(two[1], "ada")), await enter(Member(two[1], "ben"))
    await worker.register(capacity=9)
    first = await call(ada, key="k")
    async with Member(two[0], "ada") as again:
        task = await worker.assigned()
        await worker.update(task, {"n": 1})
        second = await call(again, key="k", input={"other": 1})
        assert second.task == first.task
        await second.until("working")
    # Whoever leaves does not end a task that has a key.
    other = await call(ben, key="k")
    assert other.task != first.task
    assert (await worker.assigned())["task"] == other.task
    await worker.complete(task, n=2)
    assert await first.output() == {"n": 2}
    third = await call(ada, key="k")
    assert (third.task, await third.output()) == (first.task, {"n": 2})
    assert third.chunks == first.chunks == [{"n": 1}]


async def test_detached_a_call_is_answered_at_once_and_goes_on(two: Any, enter: Any) -> None:
    worker = await enter(Worker(two[0]))
    await worker.register()
    async with Member(two[1], "ada") as ada:
        reply = await ada.reply("agent.call", agent="echo", detach=True)
        assert reply["state"] == "submitted"
    task = await worker.assigned()
    assert task["task"] == reply["task"]
    await worker.complete(task, done=1)
    back = await enter(Member(two[0], "ada"))
    assert (await back.reply("agent.task", task=reply["task"]))["output"] == {"done": 1}


@pytest.mark.parametrize("subprotocol", ["jackfield.v1.msgpack"])
async def test_message_pack_callers_and_agents_are_told_the_same(
    two: Any, enter: Any, subprotocol: str
) -> None:
    worker = await enter(Worker(two[0], subprotocols=[subprotocol]))
    ada = await enter(Member(two[1], "ada", subprotocols=[subprotocol]))
    await worker.register(skills=[{"id": "say", "input": SCHEMA}])
    made = await call(ada, input={"text": "hi"})
    task = await worker.assigned()
    assert task["input"] == {"text": "hi"}
    await worker.update(task, {"n": 1})
    await worker.complete(task, n=2)
    assert await made.output() == {"n": 2}
    assert made.chunks == [{"n": 1}]
    assert (await ada.reply("agent.task", task=made.task))["output"] == {"n": 2}
    (listed,) = (await ada.reply("agent.list"))["agents"]
    assert listed["skills"][0]["input"] == SCHEMA


async def test_all_is_told_where_replies_are_checked(config: Any, enter: Any) -> None:
    async with nodes({**config, "server": {"debug": True}}, 1) as (server,):
        worker, ada = await enter(Worker(server)), await enter(Member(server, "ada"))
        await worker.register()
        made = await call(ada)
        task = await worker.assigned()
        await worker.update(task, {"n": 1})
        await worker.update(task, state="input_required", prompt={"message": "?"})
        await ada.reply("agent.answer", task=made.task, input={})
        await worker.order("answered")
        await worker.complete(task)
        await made.output()
        await ada.reply("agent.list")
        await ada.reply("agent.task", task=made.task)
        await ada.reply("agent.cancel", task=made.task)
        assert [each["kind"] for each in await story(ada, made.task)] == [
            "task",
            "state",
            "chunks",
            "state",
            "state",
            "state",
        ]
        assert of(task) == {"task": made.task, "attempt": 1}
        assert isinstance(made, Call)
