"""What callers by A2A do with an agent of Jackfield: with the SDK's client, over real sockets."""

from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest
from a2a.helpers.proto_helpers import get_artifact_text, get_data_parts, get_message_text
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import (
    A2AError,
    ContentTypeNotSupportedError,
    InvalidParamsError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value

from tests.support.waiting import wait_until

Data = dict[str, Any]


def message(
    *parts: str | Data, skill: str | None = None, configuration: Data | None = None, **named: str
) -> SendMessageRequest:
    """A message of texts and objects."""
    return SendMessageRequest(
        message=Message(
            **{"message_id": str(uuid4()), **named},
            role=Role.ROLE_USER,
            parts=[_part(part) for part in parts],
            metadata=None if skill is None else {"skill": skill},
        ),
        configuration=SendMessageConfiguration(**configuration or {}),
    )


def _part(part: str | Data) -> Part:
    return Part(text=part) if isinstance(part, str) else Part(data=ParseDict(part, Value()))


async def stream(caller: Any, request: SendMessageRequest) -> list[StreamResponse]:
    """All that a message is answered with."""
    return [event async for event in caller.streaming.send_message(request)]


async def send(caller: Any, request: SendMessageRequest) -> Task:
    """The task that a message makes, as it stands when nothing more comes."""
    (response,) = [event async for event in caller.waiting.send_message(request)]
    assert response.HasField("task")
    return Task.FromString(response.task.SerializeToString())


async def get(caller: Any, task: str, **more: Any) -> Task:
    found: Task = await caller.waiting.get_task(GetTaskRequest(id=task, **more))
    return found


def states(events: list[StreamResponse]) -> list[str]:
    """The states that were told, in their order."""
    told = [event.task if event.HasField("task") else event.status_update for event in events]
    return [
        TaskState.Name(each.status.state).removeprefix("TASK_STATE_").lower()
        for each in told
        if each.HasField("status")
    ]


def texts(task: Task) -> dict[str, str]:
    """The artifacts of a task that are text, by name."""
    return {artifact.name: get_artifact_text(artifact) for artifact in task.artifacts}


async def test_a_card_tells_an_agents_skills_and_where_it_is(ada: Any, system: Any) -> None:
    card = ada.card
    assert card.name == "bot"
    assert {skill.id: skill.description for skill in card.skills} == {
        "say": "Say it word by word.",
        "hold": "Say one thing, wait, and say another.",
        "count": "Count.",
        "ask": "Ask twice.",
        "fail": "Fail.",
        "refuse": "Refuse.",
    }
    modes = {skill.id: list(skill.input_modes) for skill in card.skills}
    assert modes["say"] == ["text/plain", "application/json"]
    assert modes["count"] == ["application/json"]
    assert card.capabilities.streaming
    assert not card.capabilities.push_notifications
    (extension,) = card.capabilities.extensions
    assert extension.params["count"]["required"] == ["to"]
    assert card.security_schemes["bearer"].http_auth_security_scheme.scheme == "Bearer"
    assert all(each.url.startswith(system.address) for each in card.supported_interfaces)


async def test_a_message_is_answered_with_the_task_at_its_end(ada: Any, system: Any) -> None:
    task = await send(ada, message("one two", skill="say"))
    assert task.status.state == TaskState.TASK_STATE_COMPLETED
    assert texts(task) == {"stream": "one two ", "output": "one two"}
    assert system.bot.calls == [{"text": "one two"}]
    assert get_message_text(task.history[0]) == "one two"
    assert await get(ada, task.id) == task


async def test_a_stream_tells_the_task_then_its_chunks_then_its_end(ada: Any) -> None:
    first, *events = await stream(ada, message("one two three", skill="say"))
    assert first.task.status.state == TaskState.TASK_STATE_SUBMITTED
    assert states([first, *events]) == ["submitted", "working", "completed"]
    updates = [each.artifact_update for each in events if each.HasField("artifact_update")]
    chunks = [each for each in updates if each.artifact.artifact_id == "stream"]
    assert "".join(get_artifact_text(each.artifact) for each in chunks) == "one two three "
    assert [each.append for each in chunks] == [False, *[True] * (len(chunks) - 1)]
    assert get_artifact_text(updates[-1].artifact) == "one two three"
    assert updates[-1].last_chunk
    assert {each.task_id for each in updates} == {first.task.id}


async def test_data_goes_in_and_comes_out_as_data(ada: Any, system: Any) -> None:
    task = await send(ada, message({"to": 3}, skill="count"))
    assert [type(call["to"]) for call in system.bot.calls] == [int]
    assert get_data_parts(task.artifacts[0].parts) == [{"counted": [0, 1, 2]}]


async def test_who_does_not_want_to_wait_gets_the_task_at_once(ada: Any, system: Any) -> None:
    at_once = {"return_immediately": True}
    task = await send(ada, message({}, skill="hold", configuration=at_once))
    assert task.status.state in (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING)
    system.bot.go_on.set()

    async def has_ended() -> bool:
        return (await get(ada, task.id)).status.state == TaskState.TASK_STATE_COMPLETED

    await wait_until(has_ended)
    assert texts(await get(ada, task.id)) == {"stream": "one two"}


async def test_a_task_that_asks_is_answered_by_messages_until_it_ends(ada: Any) -> None:
    task = await send(ada, message({}, skill="ask"))
    assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
    assert get_message_text(task.status.message) == "Sure?"
    asked = MessageToDict(task.status.message.metadata)
    assert asked["schema"]["required"] == ["yes"]
    assert await get(ada, task.id) == task
    task = await send(ada, message({"yes": True}, task_id=task.id))
    assert task.status.state == TaskState.TASK_STATE_AUTH_REQUIRED
    assert get_message_text(task.status.message) == "Who are you?"
    task = await send(ada, message("Ada", task_id=task.id, context_id=task.context_id))
    assert task.status.state == TaskState.TASK_STATE_COMPLETED
    output = get_data_parts(task.artifacts[0].parts)
    assert output == [{"sure": True, "who": {"text": "Ada"}}]


async def test_a_stream_stops_where_the_task_asks_and_goes_on_behind_the_answer(
    ada: Any,
) -> None:
    events = await stream(ada, message({}, skill="ask"))
    assert states(events) == ["submitted", "working", "input_required"]
    task = events[0].task.id
    events = await stream(ada, message({"yes": False}, task_id=task))
    assert states(events) == ["working", "auth_required"]
    events = await stream(ada, message("Ada", task_id=task))
    assert states(events) == ["working", "completed"]


async def test_an_answer_that_does_not_fit_is_refused_on_its_field(ada: Any) -> None:
    task = await send(ada, message({}, skill="ask"))
    with pytest.raises(InvalidParamsError) as refused:
        await send(ada, message({"yes": "perhaps"}, task_id=task.id))
    assert _fields(refused.value) == ["/input/yes"]
    assert (await get(ada, task.id)).status.state == TaskState.TASK_STATE_INPUT_REQUIRED


async def test_a_task_that_asks_nothing_takes_no_message(ada: Any) -> None:
    task = await send(ada, message("hi", skill="say"))
    with pytest.raises(UnsupportedOperationError, match="asks for nothing"):
        await send(ada, message("more", task_id=task.id))


async def test_a_cancelled_task_stops_the_agent_and_is_canceled(ada: Any, system: Any) -> None:
    at_once = {"return_immediately": True}
    task = await send(ada, message({}, skill="hold", configuration=at_once))

    async def has_begun() -> bool:
        return bool((await get(ada, task.id)).artifacts)

    await wait_until(has_begun)
    canceled = await ada.waiting.cancel_task(CancelTaskRequest(id=task.id))
    assert canceled.status.state == TaskState.TASK_STATE_CANCELED
    assert texts(canceled) == {"stream": "one "}
    await system.bot.cancelled.wait()
    assert await ada.waiting.cancel_task(CancelTaskRequest(id=task.id)) == canceled


async def test_a_task_that_has_ended_is_not_canceled(ada: Any) -> None:
    task = await send(ada, message("hi", skill="say"))
    with pytest.raises(TaskNotCancelableError, match="completed"):
        await ada.waiting.cancel_task(CancelTaskRequest(id=task.id))


@pytest.mark.parametrize(
    ("skill", "state", "words", "code"),
    [
        ("fail", TaskState.TASK_STATE_FAILED, "I am tired.", "bot.tired"),
        ("refuse", TaskState.TASK_STATE_REJECTED, "Not this.", None),
    ],
)
async def test_a_task_that_comes_to_nothing_says_why(
    ada: Any, skill: str, state: TaskState, words: str, code: str | None
) -> None:
    task = await send(ada, message({}, skill=skill))
    assert task.status.state == state
    assert get_message_text(task.status.message) == words
    assert dict(task.status.message.metadata).get("reason") == code


async def test_who_comes_back_gets_what_was_missed_and_then_the_rest(ada: Any, system: Any) -> None:
    async with aclosing(ada.streaming.send_message(message({}, skill="hold"))) as events:
        async for event in events:  # until the line is lost
            if event.HasField("artifact_update"):
                task = event.artifact_update.task_id
                break
    later = ada.streaming.subscribe(SubscribeToTaskRequest(id=task))
    async with aclosing(later):
        first = (await anext(later)).task
        assert first.status.state == TaskState.TASK_STATE_WORKING
        assert texts(first) == {"stream": "one "}
        system.bot.go_on.set()
        rest = [event async for event in later]
    (more,) = [each.artifact_update for each in rest if each.HasField("artifact_update")]
    assert get_artifact_text(more.artifact) == "two"
    assert more.append
    assert states(rest) == ["completed"]


async def test_two_may_watch_one_task(ada: Any, system: Any) -> None:
    at_once = {"return_immediately": True}
    task = (await send(ada, message({}, skill="hold", configuration=at_once))).id
    watchers = [ada.streaming.subscribe(SubscribeToTaskRequest(id=task)) for _ in "12"]
    for watcher in watchers:
        await anext(watcher)
    system.bot.go_on.set()
    for watcher in watchers:
        assert states([event async for event in watcher])[-1] == "completed"


async def test_a_task_that_has_ended_is_not_subscribed_to(ada: Any) -> None:
    events = await stream(ada, message("hi", skill="say"))
    with pytest.raises(UnsupportedOperationError, match="has ended"):
        await anext(ada.streaming.subscribe(SubscribeToTaskRequest(id=events[0].task.id)))


async def test_a_message_that_is_sent_again_calls_once(ada: Any, system: Any) -> None:
    request = message("hi", skill="say")
    first = await send(ada, request)
    assert await send(ada, request) == first
    assert (await send(ada, message("hi", skill="say"))).id != first.id
    assert len(system.bot.calls) == 2


async def test_messages_of_a_context_make_tasks_of_it(ada: Any) -> None:
    first = await send(ada, message("hi", skill="say"))
    second = await send(ada, message("again", skill="say", context_id=first.context_id))
    assert second.id != first.id
    assert second.context_id == first.context_id
    assert await get(ada, second.id) == second
    with pytest.raises(InvalidParamsError, match="of the context"):
        await send(ada, message("hi", task_id=second.id, context_id="another"))
    with pytest.raises(InvalidParamsError, match="contextId"):
        await send(ada, message("hi", skill="say", context_id="a/b"))


async def test_history_is_as_long_as_is_asked_for(ada: Any) -> None:
    task = await send(ada, message("hi", skill="say", configuration={"history_length": 0}))
    assert not task.history
    assert len((await get(ada, task.id, history_length=1)).history) == 1
    with pytest.raises(InvalidParamsError):
        await get(ada, task.id, history_length=-1)


async def test_a_wrong_input_is_refused_on_its_field_before_the_agent_sees_it(
    ada: Any, system: Any
) -> None:
    with pytest.raises(InvalidParamsError) as refused:
        await send(ada, message("three", skill="count"))
    assert _fields(refused.value) == ["/input/text", "/input/to"]
    assert system.bot.calls == []


def _fields(error: A2AError) -> list[str]:
    assert error.data is not None
    return sorted(fault["field"] for fault in error.data["errors"])


async def test_what_is_no_text_and_no_object_is_refused(ada: Any) -> None:
    request = message("hi", skill="say")
    request.message.parts.append(Part(url="https://example.com/a.png"))
    with pytest.raises(ContentTypeNotSupportedError, match="Part 1"):
        await send(ada, request)


@pytest.mark.parametrize("skill", [None, "sing"])
async def test_a_skill_that_is_not_there_is_refused(ada: Any, skill: str | None) -> None:
    with pytest.raises(InvalidParamsError):
        await send(ada, message("hi", skill=skill))


async def test_another_user_has_no_part_in_a_task(ada: Any, system: Any) -> None:
    task = (await send(ada, message({}, skill="ask"))).id
    async with system.caller("eve") as eve:
        for attempt in (
            get(eve, task),
            eve.waiting.cancel_task(CancelTaskRequest(id=task)),
            send(eve, message({"yes": True}, task_id=task)),
        ):
            with pytest.raises(TaskNotFoundError):
                await attempt
    async with system.caller("eve") as eve:
        with pytest.raises(TaskNotFoundError):
            await anext(eve.streaming.subscribe(SubscribeToTaskRequest(id=task)))
    assert (await get(ada, task)).status.state == TaskState.TASK_STATE_INPUT_REQUIRED


@pytest.mark.parametrize(
    "task", ["bot.nothing", "nothing", "other.Vd0zJ2aaaaaaaaaaaaaaaa", "bot.~"]
)
async def test_a_task_that_is_not_there_is_not_found(ada: Any, task: str) -> None:
    with pytest.raises(TaskNotFoundError):
        await get(ada, task)


async def test_what_the_gateway_does_not_do_it_says(ada: Any) -> None:
    with pytest.raises(UnsupportedOperationError, match="not listed"):
        await ada.waiting.list_tasks(ListTasksRequest())
    push = TaskPushNotificationConfig(task_id="bot.x", url="https://example.com")
    with pytest.raises(PushNotificationNotSupportedError):
        await ada.waiting.create_task_push_notification_config(push)
    wanted = {"task_push_notification_config": push}
    with pytest.raises(PushNotificationNotSupportedError):
        await send(ada, message("hi", skill="say", configuration=wanted))


async def test_a_client_of_the_version_before_is_served_too(system: Any) -> None:
    async with system.caller(version="0.3") as old:
        events = await stream(old, message("one two", skill="say"))
        assert states(events)[-1] == "completed"
        assert texts(await get(old, events[0].task.id))["output"] == "one two"
