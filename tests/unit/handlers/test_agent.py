"""``agent.*`` hands on what callers and agents ask, within the limits of the protocol."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from marshmallow import Schema

from jackfield.wire import agent_limits as limits
from jackfield.wire.topic_limits import MAX_KEY_LENGTH
from jackfield_handlers import agent as module
from jackfield_handlers.agent import (
    Answer,
    Call,
    Cancel,
    Complete,
    Fail,
    ListAgents,
    OfAttempt,
    OfTask,
    Register,
    Update,
)
from tests.support.handler_context import AskedContext, faults, load

TASK = "echo." + "x" * 22
SKILL = {"id": "say"}


def context(answer: Any = None) -> Any:
    ctx: Any = AskedContext(answer)
    names = (
        "page",
        "task",
        "cancel",
        "answer",
        "register",
        "unregister",
        "update",
        "complete",
        "fail",
        "release",
        "may_see",
    )
    for name in names:
        setattr(ctx.agents, name, ctx.coroutine(name))
    return ctx


@pytest.mark.parametrize(
    ("payload", "skill", "wanted"),
    [
        ({}, None, {"after": None, "limit": 1000}),
        ({"skill": "say"}, "say", {"after": None, "limit": 1000}),
        ({"after": "echo", "limit": 5}, None, {"after": "echo", "limit": 5}),
    ],
)
async def test_agents_are_listed_in_pages_all_or_by_skill(
    payload: Any, skill: str | None, wanted: dict[str, Any]
) -> None:
    page = {"agents": [{"name": "echo"}], "next": "echo"}
    ctx = context(page)
    assert await module.list_agents(ctx, load(ListAgents, **payload)) == page
    assert ctx.calls == [("page", (skill,), wanted)]


@pytest.mark.parametrize("payload", [{"limit": 0}, {"limit": 1001}, {"after": "No name"}])
def test_a_page_that_cannot_be_is_refused(payload: dict[str, Any]) -> None:
    assert faults(ListAgents, **payload).keys() == payload.keys()


async def test_a_call_streams_what_comes_of_it() -> None:
    ctx = context()

    async def call(*args: Any, **more: Any) -> AsyncIterator[int]:
        ctx.calls.append(("call", args, more))
        for number in range(3):
            yield number

    ctx.agents.call = call
    payload = {"agent": "echo", "input": {"a": 1}, "key": "k", "timeout": 5, "detach": True}
    streamed = [each async for each in module.call(ctx, load(Call, watchers=["bob"], **payload))]
    assert streamed == [0, 1, 2]
    assert ctx.calls == [
        (
            "call",
            ("echo", None, {"a": 1}),
            {"timeout": 5, "detach": True, "key": "k", "watchers": ["bob"]},
        )
    ]


@pytest.mark.parametrize(
    ("handler", "schema", "payload", "call"),
    [
        (module.read_task, OfTask, {}, ("task", (TASK,), {})),
        (module.cancel, Cancel, {"reason": "no"}, ("cancel", (TASK, "no"), {})),
        (module.cancel, Cancel, {}, ("cancel", (TASK, None), {})),
        (module.answer, Answer, {"input": {"a": 1}}, ("answer", (TASK, {"a": 1}, None), {})),
        (
            module.answer,
            Answer,
            {"input": {}, "key": "k"},
            ("answer", (TASK, {}, "k"), {}),
        ),
        (
            module.update,
            Update,
            {"attempt": 2, "chunks": [{"n": 1}], "seq": 0},
            (
                "update",
                (TASK, 2),
                {"seq": 0, "chunks": [{"n": 1}], "state": None, "prompt": None},
            ),
        ),
        (
            module.update,
            Update,
            {"attempt": 1, "state": "input_required", "prompt": {"message": "?"}},
            (
                "update",
                (TASK, 1),
                {"seq": None, "chunks": (), "state": "input_required", "prompt": {"message": "?"}},
            ),
        ),
        (module.release, OfAttempt, {"attempt": 3}, ("release", (TASK, 3), {})),
        (module.complete, Complete, {"attempt": 1}, ("complete", (TASK, 1, {}), {})),
        (
            module.fail,
            Fail,
            {"attempt": 1, "message": "no", "code": "x", "rejected": True},
            ("fail", (TASK, 1, "no"), {"code": "x", "rejected": True}),
        ),
        (
            module.fail,
            Fail,
            {"attempt": 1, "message": "no"},
            ("fail", (TASK, 1, "no"), {"code": None, "rejected": False}),
        ),
    ],
    ids=[
        "task",
        "cancel",
        "cancel-silently",
        "answer",
        "answer-key",
        "chunks",
        "prompt",
        "release",
        "complete",
        "fail",
        "fail-shortly",
    ],
)
async def test_what_is_asked_of_a_task_is_handed_on(
    handler: Any, schema: type[Schema], payload: dict[str, Any], call: Any
) -> None:
    ctx = context({"task": TASK})
    assert await handler(ctx, load(schema, task=TASK, **payload)) == {"task": TASK}
    assert ctx.calls == [call]


async def test_an_instance_registers_and_unregisters() -> None:
    ctx = context({"instance": "i"})
    instance = "i" * 22
    data = load(Register, name="echo", skills=[SKILL], capacity=3, instance=instance)
    assert await module.register(ctx, data) == {"instance": "i"}
    await module.register(ctx, load(Register, name="echo", skills=[SKILL]))
    assert await module.unregister(ctx, {}) is None  # type: ignore[func-returns-value]
    assert ctx.calls == [
        ("register", ("echo", [SKILL]), {"capacity": 3, "instance": instance}),
        ("register", ("echo", [SKILL]), {"capacity": 1, "instance": None}),
        ("unregister", (), {}),
    ]


async def test_who_may_see_a_task_may_see_its_topic() -> None:
    ctx = context(answer=True)
    assert await module.may_see(ctx, TASK)
    assert ctx.calls == [("may_see", (TASK,), {})]
    (family,) = module.agent.topics
    assert family.join_check is module.may_see
    assert not family.client_publish


@pytest.mark.parametrize("name", ["", "1a", "Echo", "a" * 65, "a b", "a\n", "é", "a.b"])
def test_an_agent_has_a_name_that_fits_into_a_key(name: str) -> None:
    assert list(faults(Register, name=name, skills=[SKILL])) == ["name"]
    assert load(Register, name="a" * 64, skills=[SKILL])


@pytest.mark.parametrize(
    ("payload", "wrong"),
    [
        ({"skills": []}, "skills"),
        ({"skills": [SKILL] * (limits.MAX_SKILLS + 1)}, "skills"),
        ({"skills": [{"id": "1"}]}, "skills"),
        ({"skills": [{**SKILL, "description": "x" * (limits.MAX_WORDS + 1)}]}, "skills"),
        ({"skills": [{**SKILL, "input": 5}]}, "skills"),
        ({"capacity": 0}, "capacity"),
        ({"capacity": limits.MAX_CAPACITY + 1}, "capacity"),
        ({"capacity": "1"}, "capacity"),
        ({"instance": "short"}, "instance"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_registration_is_within_its_limits(payload: dict[str, Any], wrong: str) -> None:
    assert list(faults(Register, **{"name": "echo", "skills": [SKILL], **payload})) == [wrong]


@pytest.mark.parametrize(
    ("schema", "payload", "wrong"),
    [
        (OfTask, {"task": ""}, "task"),
        (OfTask, {"task": "x" * (limits.MAX_TASK_LENGTH + 1)}, "task"),
        (Cancel, {"reason": ""}, "reason"),
        (Cancel, {"reason": "x" * (limits.MAX_REASON + 1)}, "reason"),
        (Answer, {}, "input"),
        (Answer, {"input": {}, "key": "x" * (MAX_KEY_LENGTH + 1)}, "key"),
        (Update, {"attempt": 0}, "attempt"),
        (Update, {"attempt": 1, "chunks": [], "seq": 0}, "chunks"),
        (
            Update,
            {"attempt": 1, "chunks": [{}] * (limits.MAX_CHUNKS + 1), "seq": 0},
            "chunks",
        ),
        (Update, {"attempt": 1, "chunks": [{}]}, "seq"),
        (Update, {"attempt": 1, "chunks": [{}], "seq": -1}, "seq"),
        (Update, {"attempt": 1, "state": "completed"}, "state"),
        (Update, {"attempt": 1, "prompt": {}}, "prompt"),
        (Update, {"attempt": 1, "state": "working", "prompt": {}}, "prompt"),
        (Update, {"attempt": 1, "state": "auth_required", "prompt": {"expires": 0}}, "prompt"),
        (Complete, {"attempt": 1, "output": []}, "output"),
        (Fail, {"attempt": 1}, "message"),
        (Fail, {"attempt": 1, "message": ""}, "message"),
        (Fail, {"attempt": 1, "message": "x" * (limits.MAX_WORDS + 1)}, "message"),
        (Fail, {"attempt": 1, "message": "x", "code": ""}, "code"),
        (
            Fail,
            {"attempt": 1, "message": "x", "code": "x" * (limits.MAX_CODE_LENGTH + 1)},
            "code",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_said_of_a_task_is_within_its_limits(
    schema: type[Schema], payload: dict[str, Any], wrong: str
) -> None:
    assert list(faults(schema, **{"task": TASK, **payload})) == [wrong]


def test_only_agents_may_do_what_agents_do() -> None:
    scoped = {each.type for each in module.agent.handlers.values() if each.scopes == {"agent"}}
    assert scoped == {
        f"agent.{verb}"
        for verb in ("register", "unregister", "update", "complete", "fail", "release")
    }


def test_an_update_that_waits_holds_nothing_else_up() -> None:
    handlers = {each.type: each for each in module.agent.handlers.values()}
    for verb in ("update", "complete", "fail", "release"):
        assert handlers[f"agent.{verb}"].concurrent
    assert handlers["agent.update"].timeout == 600
