"""`Gateway`: the operations of A2A, done by clients of Jackfield; nothing is kept between them."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, NamedTuple, NoReturn

from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers.request_handler import RequestHandler, validate_request_params
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
)
from a2a.utils.errors import (
    ExtendedAgentCardNotConfiguredError,
    InvalidParamsError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    UnsupportedOperationError,
)
from a2a.utils.task import apply_history_length, validate_history_length
from typing_extensions import override

from jackfield.client import Client

from .errors import translated_errors
from .pool import Lease
from .task_events import read_task_events
from .transcript import Transcript
from .translate import Reference, check_context, read_parts

#: The keys of a call's context for the agent, and for the connection of whoever calls.
AGENT: Final = "jackfield_agent"
LEASE: Final = "jackfield_lease"
#: The key of a message's metadata for the skill.
SKILL: Final = "skill"


class _Start(NamedTuple):
    """Where to follow a task from.

    Attributes:
        reference: The task.
        after: The offset of its last event before the message was sent.
    """

    reference: Reference
    after: float


class Gateway(RequestHandler):
    """Handles the requests that the SDK has read."""

    @validate_request_params
    async def on_message_send(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> Task | Message:
        """Call an agent, or answer it, and wait until it has ended or asks for something."""
        start = await _send(params, context)
        transcript = Transcript(start.reference)
        at_once = params.configuration.return_immediately
        with translated_errors():
            async with aclosing(read_task_events(_client(context), start.reference.task)) as events:
                async for event in events:
                    transcript.add(event)
                    if event.newest and (at_once or transcript.awaits_caller):
                        break
        return apply_history_length(transcript.task(), params.configuration)

    @validate_request_params
    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Call an agent, or answer it, and send what comes until it has ended or asks."""
        start = await _send(params, context)
        async with aclosing(_follow(start, context, until_asked=True)) as updates:
            async for event in updates:
                yield (
                    apply_history_length(event, params.configuration)
                    if isinstance(event, Task)
                    else event
                )

    @validate_request_params
    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Send a task as it stands, and what comes until it has ended."""
        reference = Reference.read(params.id, _agent(context))
        start = _Start(reference, float("inf"))
        async with aclosing(_follow(start, context, until_asked=False)) as updates:
            async for event in updates:
                yield event

    @validate_request_params
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        """Return a task as it stands."""
        validate_history_length(params)
        task = await _read(Reference.read(params.id, _agent(context)), context)
        return apply_history_length(task, params)

    @validate_request_params
    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        """End a task; one that has ended otherwise can't be canceled."""
        reference = Reference.read(params.id, _agent(context))
        with translated_errors():
            task = await _client(context).request("agent.cancel", {"task": reference.task})
        if task["state"] != "canceled":
            raise TaskNotCancelableError(f"The task is {task['state']}.")
        return await _read(reference, context)

    @override
    async def on_list_tasks(
        self, params: ListTasksRequest, context: ServerCallContext
    ) -> ListTasksResponse:
        """Refuse: Jackfield knows tasks by their ids alone."""
        raise UnsupportedOperationError("Tasks are not listed here: keep their ids.")

    @override
    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        """Refuse: there is one card for all callers."""
        raise ExtendedAgentCardNotConfiguredError

    @override
    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Refuse: there are no push notifications."""
        _no_push()

    @override
    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Refuse: there are no push notifications."""
        _no_push()

    @override
    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """Refuse: there are no push notifications."""
        _no_push()

    @override
    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Refuse: there are no push notifications."""
        _no_push()


async def _send(params: SendMessageRequest, context: ServerCallContext) -> _Start:
    """Send a message to Jackfield: call the agent, or answer a task of its."""
    validate_history_length(params.configuration)
    if params.configuration.HasField("task_push_notification_config"):
        _no_push()
    message = params.message
    given = read_parts(message.parts)
    # A message that is sent again, because no answer came, is the same to the last byte.
    key = hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
    if message.task_id:
        return await _answer(message, given, key, context)
    return await _call(message, given, key, context)


async def _call(
    message: Message, given: dict[str, Any], key: str, context: ServerCallContext
) -> _Start:
    if message.context_id:
        check_context(message.context_id)
    client = _client(context)
    # Detached, as a caller that disconnects may come back: only its cancel or its deadline ends a
    # task.
    call = {"agent": _agent(context), "input": given, "detach": True}
    if SKILL in message.metadata:
        call["skill"] = message.metadata[SKILL]
    if client.welcome.get("user") is not None:  # the anonymous would share their keys
        call["key"] = key
    with translated_errors(not_found=InvalidParamsError):
        task = (await client.request("agent.call", call))["task"]
    return _Start(Reference(task, message.context_id or task), 0)


async def _answer(
    message: Message, given: dict[str, Any], key: str, context: ServerCallContext
) -> _Start:
    reference = Reference.read(message.task_id, _agent(context))
    if message.context_id not in ("", reference.context):
        raise InvalidParamsError(
            f"The task is of the context {reference.context!r}, and not {message.context_id!r}."
        )
    client = _client(context)
    with translated_errors():
        before = await client.history(f"task:{reference.task}", limit=1)
        answer = {"task": reference.task, "input": given, "key": key}
        await client.request("agent.answer", answer)
    return _Start(reference, before.position.offset)


async def _follow(
    start: _Start, context: ServerCallContext, *, until_asked: bool
) -> AsyncGenerator[Event, None]:
    """Iterate over a task as it stands after its start, then over all updates."""
    lease: Lease = context.state[LEASE]
    lease.reusable = False  # a caller that disconnects leaves it subscribed to the task
    transcript = Transcript(start.reference)
    has_begun = False
    with translated_errors():
        async with aclosing(read_task_events(lease.client, start.reference.task)) as events:
            async for event in events:
                updates = transcript.add(event)
                if has_begun:
                    for update in updates:
                        yield update
                elif event.offset > start.after or event.newest:
                    if transcript.has_ended and not until_asked:
                        raise UnsupportedOperationError("The task has ended: get it.")
                    has_begun = True
                    yield transcript.task()
                if until_asked and has_begun and event.newest and transcript.awaits_caller:
                    return


async def _read(reference: Reference, context: ServerCallContext) -> Task:
    transcript = Transcript(reference)
    with translated_errors():
        async with aclosing(read_task_events(_client(context), reference.task)) as events:
            async for event in events:
                transcript.add(event)
                if event.newest:
                    break
    return transcript.task()


def _agent(context: ServerCallContext) -> str:
    return str(context.state[AGENT])


def _client(context: ServerCallContext) -> Client:
    lease: Lease = context.state[LEASE]
    return lease.client


def _no_push() -> NoReturn:
    raise PushNotificationNotSupportedError("Push notifications are not sent: subscribe.")
