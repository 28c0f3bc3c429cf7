"""What clients ask of agents: who may, what comes of it, and in which words it is refused.

A task that isn't there and one that is not the client's to see answer alike.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from jackfield.connection.connection import Connection
from jackfield.connection.request import GONE, Request
from jackfield.connection.running import MessageOptions
from jackfield.declaration.replies import Reply, Stated
from jackfield.schema.untrusted import compile_untrusted
from jackfield.store.tasks import HeldTask, TaskEnd, TaskUpdate
from jackfield.wire.errors import Error, field_fault, with_faults

from .agents import Agents
from .followed_task import CallOptions, FollowedTask
from .instance import REGISTRATION, ConnectedInstance
from .plugin_calls import result_of
from .task import ENDED, is_task_id, task_object

_encode: Final = msgspec.json.Encoder().encode
#: Seconds that somebody who is asked has, if the agent says nothing else.
_EXPIRES: Final = 3600.0
#: What a caller who leaves says.
_LEFT: Final = "The caller has left."


class AgentAccess:
    """What one connection may do with agents; the built-in ``agent.*`` handlers are made of it.

    Args:
        agents: The node's part of them.
        connection: The connection.
        request: What it asks by.
    """

    __slots__ = ("_agents", "_connection", "_request")

    def __init__(
        self, agents: Agents, connection: Connection, request: Request[MessageOptions] | None
    ) -> None:
        self._agents = agents
        self._connection = connection
        self._request = request

    # Callers.

    async def list(self, skill: str | None = None) -> list[dict[str, Any]]:
        """All agents, or those that have a skill."""
        agents = await self._agents.directory.agents()
        return [
            {
                "name": name,
                "skills": [self._value(msgspec.Raw(text)) for _, text in state.skills.values()],
                "instances": len(state.instances),
                "capacity": sum(each.capacity for each in state.instances),
                "running": sum(each.running for each in state.instances),
                "queued": state.waiting,
            }
            for name, state in sorted(agents.items())
            if skill is None or skill in state.skills
        ]

    async def call(
        self,
        agent: str | None,
        skill: str | None,
        payload: Mapping[str, Any],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - of the task, wherever it runs
        detach: bool = False,
        key: str | None = None,
        watchers: Sequence[str] = (),
    ) -> AsyncIterator[Any]:
        """Call an agent: what the stream of ``agent.call`` carries, the reply last.

        A call that is left before its end is cancelled, unless it has a key: its caller may come
        back to it.
        """
        known = await self._agents.directory.find(agent, skill)
        user = self._connection.user
        # Nobody's keys are their connection's own: who guessed one would have another's task.
        owner = f"@{self._connection.id}" if user is None else user
        mine = "" if key is None else f"{len(owner)}:{owner}:{key}"
        following = await self._agents.call(
            CallOptions(
                known,
                payload,
                caller=user,
                timeout=timeout,
                key=hashlib.sha256(mine.encode()).hexdigest() if mine else "",
                watchers=watchers,
                follow=not detach,
            )
        )
        if detach:
            yield Reply({"task": following.task, "state": "submitted"})
            return
        left: Error | None = Error("cancelled", _LEFT) if key is None else None
        try:
            async for each in self._stream(following):
                yield each
        finally:
            stopped = None if self._request is None else self._request.stopped
            # The end of a connection stops its requests as well, and is not what a caller says.
            if stopped is not None and stopped.code == "cancelled" and stopped is not GONE:
                left = Error("cancelled", "The caller has cancelled the call.")
            following.stop(left)

    async def _stream(self, following: FollowedTask) -> AsyncIterator[Any]:
        task = following.task
        brief: dict[str, Any] = {"task": task}
        sent = 0
        async for event in following.progress():
            if event.kind == "chunks":
                for chunk in event.chunks:
                    yield self._value(chunk)
                sent += len(event.chunks)
            elif event.kind == "task":
                brief = msgspec.json.decode(bytes(event.task))
                shown = {name: value for name, value in brief.items() if name != "input"}
                yield Stated("submitted", shown)
            elif event.state not in ENDED:
                brief.pop("input", None)
                brief.update(state=event.state, attempt=event.attempt, seq=sent)
                told = dict(brief)
                if bytes(event.prompt):
                    told["prompt"] = msgspec.json.decode(bytes(event.prompt))
                yield Stated(event.state, told)
            else:
                yield Reply(
                    {
                        "task": task,
                        "state": "completed",
                        "output": self._value(result_of(event, task)),
                    }
                )

    def _value(self, value: msgspec.Raw) -> Any:
        return self._connection.codec.embed(bytes(value))

    async def task(self, task: str) -> dict[str, Any]:
        """A task, with its input."""
        return self._shown(await self._visible(task))

    async def cancel(self, task: str, reason: str | None = None) -> dict[str, Any]:
        """End a task as canceled; one that has ended stays as it is."""
        fields = await self._own(task)
        error = Error("cancelled", reason or "The caller has cancelled the call.")
        await self._agents.cancel(task, error)
        fields = await self._visible(task)
        return self._shown(fields)

    async def answer(
        self, task: str, payload: Mapping[str, Any], key: str | None = None
    ) -> dict[str, Any]:
        """Answer what a task asks for."""
        fields = await self._own(task)
        if "prompt" in fields:
            prompt: dict[str, Any] = msgspec.json.decode(fields["prompt"])
            schema = prompt.get("schema")
            if schema is not None:
                compile_untrusted(schema).check(payload)
        outcome = await self._agents.store.answer(task, answer=_encode(payload), key=key or "")
        if outcome.word in ("illegal", "ended"):
            raise Error("conflict", "The task asks for nothing.", state=outcome.state)
        return self._shown(await self._visible(task))

    async def may_see(self, task: str) -> bool:
        """Whether a task is there, and this connection may see it."""
        try:
            await self._visible(task)
        except Error as error:
            if error.code == "not_found":
                return False
            raise
        return True

    async def _visible(self, task: str) -> dict[str, bytes]:
        fields = await self._agents.store.read_task(task) if is_task_id(task) else {}
        if not fields or not self._may_see(fields):
            raise Error("not_found", "There is no such task, or it is not yours to see.")
        return fields

    async def _own(self, task: str) -> dict[str, bytes]:
        fields = await self._visible(task)
        if msgspec.json.decode(fields["caller"]) != self._connection.user:
            raise Error("not_found", "There is no such task, or it is not yours.")
        return fields

    def _may_see(self, fields: Mapping[str, bytes]) -> bool:
        # Of an anonymous caller's task only the caller knows the id, which nobody can guess.
        caller = msgspec.json.decode(fields["caller"])
        user = self._connection.user
        return caller in (None, user) or user in msgspec.json.decode(fields["watchers"])

    def _shown(self, fields: Mapping[str, bytes]) -> dict[str, Any]:
        return {
            name: self._value(value) if isinstance(value, msgspec.Raw) else value
            for name, value in task_object(fields).items()
        }

    # Agents.

    async def register(
        self,
        agent: str,
        skills: Sequence[Mapping[str, Any]],
        *,
        capacity: int = 1,
        instance: str | None = None,
    ) -> dict[str, Any]:
        """Register this connection as an instance of an agent."""
        mine = self._registered
        if mine is not None and (mine.agent != agent or instance not in (None, mine.id)):
            raise Error("conflict", f"This connection is an instance of {mine.agent!r} already.")
        definitions: dict[str, tuple[str, bytes]] = {}
        for place, skill in enumerate(skills):
            if skill["id"] in definitions:
                fault = field_fault(f"/skills/{place}/id", "duplicate", "There are two of this id.")
                raise with_faults("invalid_payload", [fault])
            if skill.get("input") is not None:
                compile_untrusted(skill["input"], f"/skills/{place}/input")
            text = _encode(skill)
            definitions[skill["id"]] = (hashlib.sha256(text).hexdigest()[:16], text)
        if mine is not None:
            instance = mine.id
        registered, tasks = await self._agents.register(
            self._connection, agent, instance, capacity=capacity, skills=definitions
        )
        if self._request is not None:
            self._request.call_after_reply(registered)
        return {
            "instance": registered.id,
            "lease": self._agents.settings.lease,
            "tasks": [_held(each) for each in tasks],
        }

    async def unregister(self) -> None:
        """Take no more tasks."""
        registered = self._registered
        if registered is not None:
            await self._agents.unregister(registered)

    async def update(
        self,
        task: str,
        attempt: int,
        *,
        seq: int | None = None,
        chunks: Sequence[Any] = (),
        state: str | None = None,
        prompt: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Stream chunks of a task, or ask for something; waits while the caller can't keep up."""
        encoded = [_encode(chunk) for chunk in chunks]
        told = {"message": "", **(prompt or {})}
        expires = told.pop("expires", _EXPIRES)
        if "schema" in told:
            compile_untrusted(told["schema"], "/prompt/schema")
        asked = _encode(told)
        limit = self._agents.event_bytes
        if sum(map(len, encoded)) + len(asked) > limit:
            raise Error("too_large", f"An update is larger than {limit} bytes.", limit=limit)
        instance = self._instance()
        first = 0 if seq is None else seq
        while True:
            report = TaskUpdate(
                task,
                instance.id,
                attempt,
                first,
                len(encoded),
                b",".join(encoded),
                state or "",
                asked,
                expires,
            )
            outcome = await self._agents.report(instance, report)
            if outcome.word != "part":
                break
            have = int(outcome.rest[1])
            encoded, first = encoded[have - first :], have
        if outcome.word == "ahead":
            raise Error(
                "conflict",
                "Chunks before these are missing.",
                state=outcome.state,
                seq=int(outcome.rest[1]),
            )
        if outcome.word == "illegal":
            raise Error("conflict", f"The task is {outcome.state}.", state=outcome.state)
        if outcome.word == "full":
            raise Error("too_large", "The task has as many events as are kept.")
        return {"task": task, "state": outcome.state, "seq": int(outcome.rest[1])}

    async def complete(self, task: str, attempt: int, output: Mapping[str, Any]) -> dict[str, Any]:
        """End a task with its output."""
        body = _encode(output)
        limit = self._agents.event_bytes
        if len(body) > limit:
            raise Error("too_large", f"The output is larger than {limit} bytes.", limit=limit)
        return await self._end(task, attempt, "completed", "output", body)

    async def fail(
        self,
        task: str,
        attempt: int,
        message: str,
        *,
        code: str | None = None,
        rejected: bool = False,
    ) -> dict[str, Any]:
        """End a task without."""
        state = "rejected" if rejected else "failed"
        error = Error("agent_failed", message, task=task, state=state)
        if code is not None:
            error.extra["reason"] = code
        return await self._end(task, attempt, state, "error", _encode(error.as_dict()))

    async def _end(
        self, task: str, attempt: int, state: str, what: str, body: bytes
    ) -> dict[str, Any]:
        instance = self._instance()
        report = TaskEnd(task, instance.id, attempt, state, what, body)
        outcome = await self._agents.report(instance, report)
        return {"task": task, "state": outcome.state}

    @property
    def _registered(self) -> ConnectedInstance | None:
        return self._connection[REGISTRATION].instance

    def _instance(self) -> ConnectedInstance:
        instance = self._registered
        if instance is None:
            raise Error("conflict", "This connection is no instance of an agent: register first.")
        return instance


def _held(held: HeldTask) -> dict[str, Any]:
    return {"task": held.task, "attempt": held.attempt, "seq": held.seq, "state": held.state}
