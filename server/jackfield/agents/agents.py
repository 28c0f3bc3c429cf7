"""`Agents`: the part of one node in all that agents do: its calls and its instances."""

import asyncio
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from jackfield.config import Settings
from jackfield.connection.connection import Connection
from jackfield.redis.client import RedisClient
from jackfield.store.agents import AgentStore, RegistrationReply
from jackfield.store.keys import Keys
from jackfield.store.tasks import HeldTask, NewTask, Outcome, TaskEnd, TaskUpdate
from jackfield.store.topics import StoredTopic
from jackfield.topics.topics import Topics
from jackfield.wire.errors import Error

from .call import Call
from .channels import AgentChannel, AgentChannels
from .directory import Directory
from .followed_task import CallOptions, FollowedTask
from .instance import REGISTRATION, SCOPE, AssignedTask, ConnectedInstance
from .upkeep import Upkeep

_log = structlog.get_logger("jackfield")

#: Seconds that a report waits for a caller who can't keep up before it looks whether that still is.
_HOLD_LOOK: Final = 5.0
#: Seconds that a caller is told to wait when too many wait.
_RETRY_AFTER: Final = 1.0


class Agents:
    """The agents of one node.

    Args:
        settings: The server's settings.
        redis: The Redis they live in.
        keys: The keys of this node.
        topics: The node's topics, whose bus is used.
    """

    def __init__(self, settings: Settings, redis: RedisClient, keys: Keys, topics: Topics) -> None:
        self.settings = settings.agents
        #: Bytes of an event, and so of an update or an output, at most.
        self.event_bytes = settings.limits.event_bytes
        self._close_timeout = settings.redis.timeout
        self.store = AgentStore(redis, keys, settings.agents)
        self.directory = Directory(self.store)
        #: Reports that were dropped: late, foreign or forged.
        self.dropped = 0
        #: Calls that were made here.
        self.called = 0
        self._keys = keys
        self._topics = topics
        self.channels = AgentChannels(keys, topics, self._on_gap)
        self._upkeep = Upkeep(self.store, topics.store, self.channels, settings.agents.lease)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def instances(self) -> int:
        """How many instances are connected here."""
        return sum(len(channel.instances) for channel in self.channels.by_agent.values())

    @property
    def following(self) -> int:
        """How many tasks are followed here."""
        return sum(len(channel.calls) for channel in self.channels.by_agent.values())

    async def run(self) -> None:
        """Keep what is here alive and do what is due, until cancelled."""
        await self._upkeep.run()

    async def close(self) -> None:
        """Stop everything; that instances have left is told, if Redis is there."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._close_timeout)
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.store.close()

    # Calling.

    async def call(self, wanted: CallOptions) -> FollowedTask:
        """Call an agent.

        Raises:
            Error: ``invalid_payload``, ``not_found``, ``unavailable``.
        """
        while True:
            known = wanted.known
            if known.checker is not None:
                known.checker.check(wanted.input)
            following, outcome = await self._create(wanted)
            if outcome.word == "ok":
                self.called += 1
                following.expire_in(self._timeout(wanted))
                return following
            following.stop()
            if outcome.word == "same":
                task = str(outcome.rest[0], "ascii")
                return await self.follow(task) if wanted.follow else self._following(task)
            if outcome.word == "full":
                raise Error(
                    "unavailable",
                    "Too many calls wait for this agent.",
                    retry_after=_RETRY_AFTER,
                )
            # It has changed since it was looked up.
            self.directory.forget()
            wanted = replace(wanted, known=await self.directory.find(known.agent, known.id))

    async def _create(self, wanted: CallOptions) -> tuple[FollowedTask, Outcome]:
        agent = wanted.known.agent
        task = f"{agent}.{secrets.token_urlsafe(16)}"
        async with self.channels.taken(agent) as channel:
            following = self._follow(channel, task) if wanted.follow else self._following(task)
            calling = self.store.call(agent, self._new_task(task, wanted))
            try:
                return following, await asyncio.shield(calling)
            except BaseException as exc:
                following.stop()
                if isinstance(exc, asyncio.CancelledError) and wanted.follow and not wanted.key:
                    # The caller has left, and Redis may have the call by now.
                    calling.add_done_callback(partial(self._cancel_unwanted, task))
                raise

    def _cancel_unwanted(self, task: str, calling: asyncio.Future[Outcome]) -> None:
        if not calling.cancelled() and not calling.exception() and calling.result().word == "ok":
            self.cancel_soon(task, Error("cancelled", "The caller has left."))

    def _timeout(self, wanted: CallOptions) -> float:
        seconds = self.settings.timeout if wanted.timeout is None else wanted.timeout
        return min(seconds, self.settings.max_timeout)

    def _new_task(self, task: str, wanted: CallOptions) -> NewTask:
        known = wanted.known
        brief = {"task": task, "agent": known.agent, "skill": known.id, "caller": wanted.caller}
        return NewTask(
            task,
            known.id,
            known.digest,
            msgspec.json.encode(brief)[1:-1],
            msgspec.json.encode(wanted.input),
            self._timeout(wanted),
            self._keys.node_id if wanted.follow else "",
            msgspec.json.encode(wanted.caller),
            msgspec.json.encode(wanted.watchers),
            wanted.key,
            known.idempotent,
        )

    async def follow(self, task: str) -> FollowedTask:
        """Follow a task from its beginning, whoever has called for it.

        Raises:
            Error: ``not_found``, ``unavailable``.
        """
        async with self.channels.taken(task.partition(".")[0]) as channel:
            following = self._follow(channel, task)
            try:
                outcome = await self.store.follow(task, node=self._keys.node_id)
                _check_found(outcome)
            except BaseException:
                following.stop()
                raise
        following.look_again()
        following.expire_in(int(outcome.rest[2]) / 1000)
        return following

    def _follow(self, channel: AgentChannel, task: str) -> FollowedTask:
        keys = self._keys.topic(f"task:{task}")
        place = StoredTopic(keys, self.settings.events, self.settings.ttl)
        call = Call(task, place, self._topics.store, self._hold)
        channel.add(call)
        return self._following(task, channel, call)

    def _following(
        self, task: str, channel: AgentChannel | None = None, call: Call | None = None
    ) -> FollowedTask:
        return FollowedTask(
            task, channel, call, on_expired=self.expire_soon, cancel=self.cancel_soon
        )

    async def cancel(self, task: str, error: Error) -> None:
        """End a task as canceled; the instance that has it is told."""
        error.extra.setdefault("task", task)
        await self.store.cancel(task, error=msgspec.json.encode(error.as_dict()))

    def cancel_soon(self, task: str, error: Error) -> None:
        """As `cancel`, for a caller that has gone. If Redis is away the deadline does it."""
        self._try_soon(self.cancel(task, error), "a task is left to its deadline", task=task)

    def expire_soon(self, following: FollowedTask) -> None:
        """The deadline of a task has passed; a sweep would find it as well, but later."""
        self._own(self._expire(following))

    async def _expire(self, following: FollowedTask) -> None:
        try:
            outcome = await self.store.expire(following.task)
        except Error as error:  # nobody can say, and the caller has waited enough
            error.extra["task"] = following.task
            following.fail(error)
        else:
            if outcome.word == "early":  # this clock goes faster than that of Redis
                following.expire_in(int(outcome.rest[0]) / 1000)

    def _hold(self, call: Call, *, wait: bool) -> None:
        telling = self.store.hold(call.task, node=self._keys.node_id, wait=wait)
        self._try_soon(telling, "an agent could not be told to wait or go on", task=call.task)

    # Serving.

    async def register(
        self,
        connection: Connection,
        agent: str,
        instance_id: str | None,
        *,
        capacity: int,
        skills: dict[str, tuple[str, bytes]],
    ) -> tuple[ConnectedInstance, list[HeldTask]]:
        """Register a connection as an instance; its `activate` has it told what is for it.

        Raises:
            Error: ``forbidden`` if the instance is another user's; ``unavailable``.
        """
        instance = ConnectedInstance(
            instance_id or secrets.token_urlsafe(16), agent, connection, self._remind
        )
        async with self.channels.taken(agent) as channel:
            former = channel.instances.get(instance.id)
            channel.instances[instance.id] = instance
            registering = asyncio.ensure_future(
                self.store.register(
                    agent,
                    instance.id,
                    user=connection.user or "",
                    capacity=capacity,
                    skills=skills,
                )
            )
            try:
                registered = await asyncio.shield(registering)
            except BaseException:
                channel.restore(instance, former)
                if not registering.done():  # its connection has ended, and Redis may have it by now
                    self._own(self._take_back(instance, registering))
                raise
        if registered.foreign:
            channel.restore(instance, former)
            raise Error("forbidden", "The instance is another user's.", scopes=[])
        if former is not None:
            if former.connection is connection:
                instance.go_on_from(former)
            else:
                former.connection[REGISTRATION].instance = None
        for held in registered.tasks:
            instance.expect(held)
        connection[REGISTRATION].instance = instance
        self.directory.forget()
        return instance, registered.tasks

    async def _take_back(
        self, instance: ConnectedInstance, registering: "asyncio.Future[RegistrationReply]"
    ) -> None:
        with suppress(Error):
            await registering
            await self._leave(instance)

    def _remind(self, instance: ConnectedInstance) -> None:
        """Tell one that has come back again what it has: some of it may have been lost."""
        tasks = [task for task, held in instance.tasks.items() if not held.told]
        if tasks:
            words = "an instance is reminded of its tasks later"
            self._try_soon(self._order(instance, tasks), words, agent=instance.agent)

    async def _order(self, instance: ConnectedInstance, tasks: Sequence[str]) -> None:
        for task in tasks:
            await self.store.repeat_orders(task, instance=instance.id)

    async def report(self, instance: ConnectedInstance, report: TaskUpdate | TaskEnd) -> Outcome:
        """Have an instance say something of a task of its; waits while the caller can't keep up.

        Raises:
            Error: ``not_found``, ``conflict``, ``too_large``, ``unavailable``.
        """
        held = instance.tasks.get(report.task)
        signs = 0 if held is None else held.signs
        try:
            outcome = await self.store.report(instance.agent, report)
        except asyncio.CancelledError:
            if report.task not in instance.tasks:  # its loss has ended the connection meanwhile
                self.dropped += 1
            raise
        if outcome.word in ("missing", "ended"):
            self.dropped += 1
            instance.drop(report.task)
            if outcome.word == "missing":
                raise Error("not_found", "There is no such task, or it is not this instance's.")
            raise Error("conflict", "The task has ended.", state=outcome.state)
        if outcome.word != "ok":
            return outcome
        if isinstance(report, TaskEnd):
            instance.drop(report.task)
        elif outcome.rest[2] == b"1" and held is not None:
            if held.signs == signs:  # else it has heard of what came after the report
                held.go.clear()
            await self._until_go(instance, held, report)
        return outcome

    async def _until_go(
        self, instance: ConnectedInstance, held: AssignedTask, report: TaskUpdate
    ) -> None:
        again = report._replace(seq=0, chunk_count=0, chunks=b"", state="")
        while not held.go.is_set():
            try:
                async with asyncio.timeout(_HOLD_LOOK):
                    await held.go.wait()
            except TimeoutError:  # what says go may be lost, as its sender may be
                outcome = await self.store.report(instance.agent, again)
                if outcome.word != "ok" or outcome.rest[2] != b"1":
                    held.go.set()

    async def unregister(self, instance: ConnectedInstance) -> None:
        """An instance takes no more tasks; it may end those that it has."""
        await self.store.leave(instance.agent, instance.id, left=False)

    async def check_again(self, connection: Connection) -> None:
        """A connection has another identity; without the scope it is no agent any more."""
        if SCOPE not in connection.identity.scopes:
            self.leave(connection)

    def leave(self, connection: Connection) -> None:
        """A connection has ended: its tasks wait for it for a lease."""
        registration = connection[REGISTRATION]
        instance, registration.instance = registration.instance, None
        if instance is None:
            return
        channel = self.channels.by_agent.get(instance.agent)
        if channel is not None:
            channel.forget(instance)
        for held in instance.tasks.values():
            held.go.set()
        words = "an instance is left to its lease"
        self._try_soon(self._leave(instance), words, agent=instance.agent)

    async def _leave(self, instance: ConnectedInstance) -> None:
        await self.store.leave(instance.agent, instance.id, left=True)

    def _on_gap(self, channel: AgentChannel) -> None:
        channel.look_again()
        self._own(self._upkeep.beat(channel))

    def _try_soon(self, work: Coroutine[Any, Any, Any], otherwise: str, **where: str) -> None:
        """Do something that may fail if Redis is away: say then what becomes of it."""
        self._own(self._try(work, otherwise, where))

    async def _try(
        self, work: Coroutine[Any, Any, Any], otherwise: str, where: Mapping[str, str]
    ) -> None:
        try:
            await work
        except Error as exc:
            _log.warning(otherwise, cause=str(exc), **where)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _check_found(outcome: Outcome) -> None:
    if outcome.word != "ok":
        raise Error("not_found", "There is no such task.")
