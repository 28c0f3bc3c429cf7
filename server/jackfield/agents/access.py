"""`AgentAccess`: what clients may do with agents, from the check of who may to the reply.

A task that isn't there and one that the client may not see are refused alike.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from jackfield.connection.connection import Connection
from jackfield.connection.request import CONNECTION_ENDED, Request
from jackfield.connection.running import MessageOptions
from jackfield.declaration.replies import Reply, Stated
from jackfield.schema.untrusted import compile_untrusted
from jackfield.store.tasks import HeldTask, TaskEnd, TaskRelease, TaskUpdate
from jackfield.wire.agent_limits import MAX_PAGE
from jackfield.wire.errors import Error, field_fault, with_faults

from .agents import Agents
from .call import Call, CallOptions
from .instance import REGISTRATION, ConnectedInstance
from .listing import describe_agent, page_of
from .task import ENDED, is_task_id, output_of, task_object

_encode: Final = msgspec.json.Encoder().encode
#: Seconds in which a prompt is to be answered, if the agent says nothing else.
_PROMPT_EXPIRES: Final = 3600.0


class AgentAccess:
    """What one connection may do with agents; the built-in ``agent.*`` handlers call it.

    Args:
        agents: The agents of its node.
        connection: The connection.
        request: The request that is handled; None outside one.
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
        """List all agents, or those that have a skill."""
        agents = await self._agents.directory.agents()
        return [
            describe_agent(name, state, self._connection.codec)
            for name, state in sorted(agents.items())
            if skill is None or skill in state.skills
        ]

    async def page(
        self, skill: str | None = None, *, after: str | None = None, limit: int = MAX_PAGE
    ) -> dict[str, Any]:
        """List agents in a page that fits into a reply; ``next`` is ``after`` for the next one.

        Args:
            skill: As of `list`.
            after: The name behind which the page begins; None for the first page.
            limit: How many agents there may be in it.
        """
        return page_of(
            await self._agents.directory.agents(),
            self._connection.codec,
            skill=skill,
            after=after,
            limit=limit,
            reply_bytes=self._agents.reply_bytes,
        )

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
        """Call an agent; iterate over what the stream of ``agent.call`` carries, the reply last.

        A task whose caller leaves before its end is canceled, unless the call has a key: then the
        caller may come back to it.
        """
        known = await self._agents.directory.find(agent, skill)
        user = self._connection.user
        # The keys of the anonymous are their connection's own: whoever guessed one would else get
        # the task of another. No user's key begins with what is no number.
        prefix, owner = ("nobody:", self._connection.id) if user is None else ("", user)
        own_key = "" if key is None else f"{prefix}{len(owner)}:{owner}:{key}"
        call = await self._agents.call(
            CallOptions(
                known,
                payload,
                caller=user,
                timeout=timeout,
                key=hashlib.sha256(own_key.encode()).hexdigest() if own_key else "",
                watchers=watchers,
                follow=not detach,
                payer=self._connection,
            )
        )
        if detach:
            yield Reply({"task": call.task, "state": "submitted"})
            return
        reason: Error | None = Error("cancelled", "The caller has left.") if key is None else None
        try:
            async for each in self._stream(call):
                yield each
        finally:
            stopped = None if self._request is None else self._request.stop_reason
            # The end of a connection stops its requests as well, and is not what a caller says.
            if (
                stopped is not None
                and stopped.code == "cancelled"
                and stopped is not CONNECTION_ENDED
            ):
                reason = Error("cancelled", "The caller has cancelled the call.")
            call.stop(reason)

    async def _stream(self, call: Call) -> AsyncIterator[Any]:
        task = call.task
        known: dict[str, Any] = {"task": task}
        sent = 0
        async for event in call.progress():
            if event.kind == "chunks":
                for chunk in event.chunks:
                    yield self._embed(chunk)
                sent += len(event.chunks)
            elif event.kind == "task":
                known = msgspec.json.decode(bytes(event.task))
                known.pop("input", None)
                yield Stated("submitted", dict(known))
            elif event.state not in ENDED:
                known.update(state=event.state, attempt=event.attempt, seq=sent)
                shown = dict(known)
                if bytes(event.prompt):
                    shown["prompt"] = msgspec.json.decode(bytes(event.prompt))
                yield Stated(event.state, shown)
            else:
                yield Reply(
                    {
                        "task": task,
                        "state": "completed",
                        "output": self._embed(output_of(event, task)),
                    }
                )

    def _embed(self, value: msgspec.Raw) -> Any:
        return self._connection.codec.embed(bytes(value))

    async def task(self, task: str) -> dict[str, Any]:
        """Read a task, with its input."""
        return self._show(await self._read_visible(task))

    async def cancel(self, task: str, reason: str | None = None) -> dict[str, Any]:
        """End a task as canceled; one that has ended stays as it is."""
        await self._read_own(task)
        error = Error("cancelled", reason or "The caller has cancelled the call.")
        await self._agents.cancel(task, error)
        return self._show(await self._read_visible(task))

    async def answer(
        self, task: str, payload: Mapping[str, Any], key: str | None = None
    ) -> dict[str, Any]:
        """Answer what a task asks for."""
        fields = await self._read_own(task)
        if "prompt" in fields:
            prompt: dict[str, Any] = msgspec.json.decode(fields["prompt"])
            schema = prompt.get("schema")
            if schema is not None:
                compile_untrusted(schema).check(payload)
        encoded = _encode(payload)
        self._agents.shares.charge(self._connection, len(encoded), self._agents.settings.ttl)
        outcome = await self._agents.store.answer(task, answer=encoded, key=key or "")
        if outcome.word in ("illegal", "ended"):
            raise Error("conflict", "The task asks for nothing.", state=outcome.state)
        return self._show(await self._read_visible(task))

    async def may_see(self, task: str) -> bool:
        """Tell whether a task is there, and this connection may see it."""
        try:
            await self._read_visible(task)
        except Error as error:
            if error.code == "not_found":
                return False
            raise
        return True

    async def _read_visible(self, task: str) -> dict[str, bytes]:
        fields = await self._agents.store.read_task(task) if is_task_id(task) else {}
        if not fields or not self._may_see(fields):
            raise Error("not_found", "There is no such task, or it is not yours to see.")
        return fields

    async def _read_own(self, task: str) -> dict[str, bytes]:
        fields = await self._read_visible(task)
        if msgspec.json.decode(fields["caller"]) != self._connection.user:
            raise Error("not_found", "There is no such task, or it is not yours.")
        return fields

    def _may_see(self, fields: Mapping[str, bytes]) -> bool:
        # Only the caller knows the id of an anonymous caller's task, and nobody can guess it.
        caller = msgspec.json.decode(fields["caller"])
        user = self._connection.user
        return caller in (None, user) or user in msgspec.json.decode(fields["watchers"])

    def _show(self, fields: Mapping[str, bytes]) -> dict[str, Any]:
        return {
            name: self._embed(value) if isinstance(value, msgspec.Raw) else value
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
        for index, skill in enumerate(skills):
            if skill["id"] in definitions:
                fault = field_fault(f"/skills/{index}/id", "duplicate", "There are two of this id.")
                raise with_faults("invalid_payload", [fault])
            if skill.get("input") is not None:
                compile_untrusted(skill["input"], f"/skills/{index}/input")
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
            "tasks": [_show_held(each) for each in tasks],
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
        """Stream chunks of a task, or ask for something.

        It waits while the caller can't keep up, and while Redis is nearly full.
        """
        encoded = [_encode(chunk) for chunk in chunks]
        asked = {"message": "", **(prompt or {})}
        expires = asked.pop("expires", _PROMPT_EXPIRES)
        if "schema" in asked:
            compile_untrusted(asked["schema"], "/prompt/schema")
        encoded_prompt = _encode(asked)
        limit = self._agents.event_bytes
        if sum(map(len, encoded)) + len(encoded_prompt) > limit:
            raise Error("too_large", f"An update is larger than {limit} bytes.", limit=limit)
        instance = self._instance()
        await self._agents.shares.wait_for_room(sum(map(len, encoded)))
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
                encoded_prompt,
                expires,
            )
            outcome = await self._agents.report(instance, report)
            if outcome.word != "part":
                break
            known = int(outcome.rest[1])  # it has some of these chunks: send the others
            encoded, first = encoded[known - first :], known
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
        """End a task without an output."""
        state = "rejected" if rejected else "failed"
        error = Error("agent_failed", message, task=task, state=state)
        if code is not None:
            error.extra["reason"] = code
        return await self._end(task, attempt, state, "error", _encode(error.as_dict()))

    async def release(self, task: str, attempt: int) -> dict[str, Any]:
        """Hand a task on to another instance, which begins it again."""
        instance = self._instance()
        report = TaskRelease(task, instance.id, attempt)
        outcome = await self._agents.report(instance, report)
        if outcome.word == "illegal":
            words = "The skill is not idempotent: nobody else may begin the task again."
            raise Error("conflict", words, state=outcome.state)
        return {"task": task, "state": outcome.state}

    async def _end(
        self, task: str, attempt: int, state: str, field: str, body: bytes
    ) -> dict[str, Any]:
        instance = self._instance()
        report = TaskEnd(task, instance.id, attempt, state, field, body)
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


def _show_held(held: HeldTask) -> dict[str, Any]:
    return {"task": held.task, "attempt": held.attempt, "seq": held.seq, "state": held.state}
