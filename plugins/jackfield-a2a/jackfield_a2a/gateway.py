"""The operations of A2A, each done by a client of Jackfield. Nothing is kept here."""

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

from .pool import Lease
from .refusal import refusals
from .story import steps
from .transcript import Transcript
from .translate import Reference, check_context, read_parts

#: Where a call's context has the agent, and the connection of whoever calls.
AGENT: Final = "jackfield_agent"
LEASE: Final = "jackfield_lease"
#: What a message's metadata names the skill by.
SKILL: Final = "skill"


class _Begun(NamedTuple):
    """A task that a message was for.

    Attributes:
        reference: The task.
        after: The last of its events that the message is no part of.
    """

    reference: Reference
    after: float


class Gateway(RequestHandler):
    """What the SDK hands requests to."""

    @validate_request_params
    async def on_message_send(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> Task | Message:
        """Call an agent, or answer it, and wait until it has ended or asks for something."""
        begun = await _begin(params, context)
        transcript = Transcript(begun.reference)
        at_once = params.configuration.return_immediately
        with refusals():
            async with aclosing(steps(_client(context), begun.reference.task)) as story:
                async for step in story:
                    transcript.take(step)
                    if step.newest and (at_once or transcript.asks):
                        break
        return apply_history_length(transcript.task(), params.configuration)

    @validate_request_params
    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Call an agent, or answer it, and tell what comes until it has ended or asks."""
        begun = await _begin(params, context)
        async with aclosing(_tell(begun, context, until_asked=True)) as told:
            async for event in told:
                yield (
                    apply_history_length(event, params.configuration)
                    if isinstance(event, Task)
                    else event
                )

    @validate_request_params
    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Tell a task as it stands, and what comes until it has ended."""
        reference = Reference.read(params.id, _agent(context))
        begun = _Begun(reference, float("inf"))
        async with aclosing(_tell(begun, context, until_asked=False)) as told:
            async for event in told:
                yield event

    @validate_request_params
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        """A task as it stands."""
        validate_history_length(params)
        task = await _read(Reference.read(params.id, _agent(context)), context)
        return apply_history_length(task, params)

    @validate_request_params
    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        """End a task; one that has ended otherwise can't be canceled."""
        reference = Reference.read(params.id, _agent(context))
        with refusals():
            task = await _client(context).request("agent.cancel", {"task": reference.task})
        if task["state"] != "canceled":
            raise TaskNotCancelableError(f"The task is {task['state']}.")
        return await _read(reference, context)

    @override
    async def on_list_tasks(
        self, params: ListTasksRequest, context: ServerCallContext
    ) -> ListTasksResponse:
        """Jackfield knows tasks by their ids alone."""
        raise UnsupportedOperationError("Tasks are not listed here: keep their ids.")

    @override
    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        """There is one card for all."""
        raise ExtendedAgentCardNotConfiguredError

    @override
    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """There are no push notifications."""
        _no_push()

    @override
    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """There are no push notifications."""
        _no_push()

    @override
    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """There are no push notifications."""
        _no_push()

    @override
    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """There are no push notifications."""
        _no_push()


async def _begin(params: SendMessageRequest, context: ServerCallContext) -> _Begun:
    """Do what a message is for: call the agent, or answer a task of it."""
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
) -> _Begun:
    if message.context_id:
        check_context(message.context_id)
    client = _client(context)
    # Whoever hangs up may come back: A2A ends a task by its cancel alone, or by its deadline.
    call = {"agent": _agent(context), "input": given, "detach": True}
    if SKILL in message.metadata:
        call["skill"] = message.metadata[SKILL]
    if client.welcome.get("user") is not None:  # anonymous ones would share their keys
        call["key"] = key
    with refusals(not_found=InvalidParamsError):
        task = (await client.request("agent.call", call))["task"]
    return _Begun(Reference(task, message.context_id or task), 0)


async def _answer(
    message: Message, given: dict[str, Any], key: str, context: ServerCallContext
) -> _Begun:
    reference = Reference.read(message.task_id, _agent(context))
    if message.context_id not in ("", reference.context):
        raise InvalidParamsError(
            f"The task is of the context {reference.context!r}, and not {message.context_id!r}."
        )
    client = _client(context)
    with refusals():
        before = await client.history(f"task:{reference.task}", limit=1)
        answer = {"task": reference.task, "input": given, "key": key}
        await client.request("agent.answer", answer)
    return _Begun(reference, before.position.offset)


async def _tell(
    begun: _Begun, context: ServerCallContext, *, until_asked: bool
) -> AsyncGenerator[Event, None]:
    """The task as it stands after what is known of it already, then all that comes."""
    lease: Lease = context.state[LEASE]
    lease.reusable = False  # whoever hangs up leaves it subscribed to the task
    transcript = Transcript(begun.reference)
    is_told = False
    with refusals():
        async with aclosing(steps(lease.client, begun.reference.task)) as story:
            async for step in story:
                updates = transcript.take(step)
                if is_told:
                    for update in updates:
                        yield update
                elif step.offset > begun.after or step.newest:
                    if transcript.has_ended and not until_asked:
                        raise UnsupportedOperationError("The task has ended: get it.")
                    is_told = True
                    yield transcript.task()
                if until_asked and is_told and step.newest and transcript.asks:
                    return


async def _read(reference: Reference, context: ServerCallContext) -> Task:
    transcript = Transcript(reference)
    with refusals():
        async with aclosing(steps(_client(context), reference.task)) as story:
            async for step in story:
                transcript.take(step)
                if step.newest:
                    break
    return transcript.task()


def _agent(context: ServerCallContext) -> str:
    return str(context.state[AGENT])


def _client(context: ServerCallContext) -> Client:
    lease: Lease = context.state[LEASE]
    return lease.client


def _no_push() -> NoReturn:
    raise PushNotificationNotSupportedError("Push notifications are not sent: subscribe.")
