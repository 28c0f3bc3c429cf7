"""`Agents`: make calls from this node, and serve them by the instances that are connected here."""

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
from jackfield.connection.shares import Shares
from jackfield.redis.client import RedisClient
from jackfield.store.agents import AgentStore, RegistrationReply
from jackfield.store.keys import Keys
from jackfield.store.tasks import HeldTask, NewTask, Outcome, TaskReport, TaskUpdate
from jackfield.store.topics import StoredTopic
from jackfield.topics.topics import Topics
from jackfield.wire.errors import Error

from .call import Call, CallOptions
from .channels import AgentChannel, AgentChannels
from .charging import charge_task, full_queue, payer_name, task_timeout
from .directory import Directory
from .instance import REGISTRATION, AssignedTask, ConnectedInstance
from .ownership import SCOPE, may_take_over, refused_registration, scope_of
from .task_events import TaskEvents
from .throttle import AgentThrottle
from .upkeep import Upkeep

_log = structlog.get_logger("jackfield")

#: Seconds that a report waits for a slow caller before it asks Redis whether it still must: whoever
#: was to have it resume may be gone.
_PAUSE_CHECK: Final = 5.0


class Agents:
    """The agents of one node.

    Args:
        settings: The server's settings.
        redis: The Redis they live in.
        keys: The keys of this node.
        topics: The node's topics, whose bus is used.
        shares: What clients may keep.
    """

    def __init__(
        self,
        settings: Settings,
        redis: RedisClient,
        keys: Keys,
        topics: Topics,
        shares: Shares,
    ) -> None:
        self.settings = settings.agents
        #: Bytes of an event, and so of an update or an output, at most.
        self.event_bytes = settings.limits.event_bytes
        self.reply_bytes = settings.limits.reply_bytes
        self._close_timeout = settings.redis.timeout
        self.store = AgentStore(redis, keys, settings.agents)
        self.directory = Directory(self.store)
        #: How many reports were dropped: late, foreign or forged.
        self.dropped = 0
        #: How many calls were made here.
        self.called = 0
        self.shares = shares
        self._throttle = AgentThrottle(self.store, keys.node_id, self._tell_soon).throttle
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
    def followed(self) -> int:
        """How many tasks are followed here."""
        return sum(len(channel.followed) for channel in self.channels.by_agent.values())

    async def run(self) -> None:
        """Renew the leases of instances here and end what is due, until cancelled."""
        await self._upkeep.run()

    async def close(self) -> None:
        """Stop everything, after it is written which instances have left, if Redis is there."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._close_timeout)
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.store.close()

    # Calling.

    async def call(self, options: CallOptions) -> Call:
        """Call an agent.

        Raises:
            Error: ``invalid_payload``, ``not_found``, ``unavailable``; ``rate_limited`` if the
                caller keeps too much.
        """
        while True:
            skill = options.skill
            if skill.checker is not None:
                skill.checker.check(options.input)
            call, outcome = await self._create(options)
            if outcome.word == "ok":
                self.called += 1
                call.expire_in(task_timeout(self.settings, options))
                return call
            call.stop()
            if outcome.word == "same":
                task = str(outcome.rest[0], "ascii")
                return await self.follow(task) if options.follow else self._make_call(task)
            if outcome.word in ("full", "share"):
                raise full_queue(outcome.word, self.shares, self.settings)
            # It has changed since it was looked up.
            self.directory.invalidate()
            options = replace(options, skill=await self.directory.find(skill.agent, skill.id))

    async def _create(self, options: CallOptions) -> tuple[Call, Outcome]:
        agent = options.skill.agent
        task = f"{agent}.{secrets.token_urlsafe(16)}"  # 128 bits, which nobody guesses
        async with self.channels.use(agent) as channel:
            call = self._follow(channel, task) if options.follow else self._make_call(task)
            calling = self.store.call(agent, self._new_task(task, options))
            try:
                return call, await asyncio.shield(calling)
            except BaseException as exc:
                call.stop()
                if isinstance(exc, asyncio.CancelledError) and options.follow and not options.key:
                    # The caller has left, and Redis may have the call by now.
                    calling.add_done_callback(partial(self._cancel_unwanted, task))
                raise

    def _cancel_unwanted(self, task: str, calling: asyncio.Future[Outcome]) -> None:
        if not calling.cancelled() and not calling.exception() and calling.result().word == "ok":
            self.cancel_soon(task, Error("cancelled", "The caller has left."))

    def _new_task(self, task: str, options: CallOptions) -> NewTask:
        skill = options.skill
        start = {"task": task, "agent": skill.agent, "skill": skill.id, "caller": options.caller}
        encoded = msgspec.json.encode(options.input)
        kept = charge_task(self.shares, self.settings, options, len(encoded))
        return NewTask(
            task,
            skill.id,
            skill.digest,
            msgspec.json.encode(start)[1:-1],
            encoded,
            task_timeout(self.settings, options),
            self._keys.node_id if options.follow else "",
            msgspec.json.encode(options.caller),
            msgspec.json.encode(options.watchers),
            options.key,
            skill.idempotent,
            kept,
            payer_name(options.payer),
        )

    async def follow(self, task: str) -> Call:
        """Follow a task from its beginning, whoever has made the call.

        Raises:
            Error: ``not_found``, ``unavailable``.
        """
        async with self.channels.use(task.partition(".")[0]) as channel:
            call = self._follow(channel, task)
            try:
                outcome = await self.store.follow(task, node=self._keys.node_id)
                _check_found(outcome)
            except BaseException:
                call.stop()
                raise
        call.catch_up()
        call.expire_in(int(outcome.rest[2]) / 1000)
        return call

    def _follow(self, channel: AgentChannel, task: str) -> Call:
        keys = self._keys.topic(f"task:{task}")
        stored = StoredTopic(keys, self.settings.events, self.settings.ttl)
        events = TaskEvents(task, stored, self._topics.store, self._throttle)
        channel.follow(events)
        return self._make_call(task, channel, events)

    def _make_call(
        self, task: str, channel: AgentChannel | None = None, events: TaskEvents | None = None
    ) -> Call:
        return Call(task, channel, events, on_expired=self.expire_soon, cancel=self.cancel_soon)

    async def cancel(self, task: str, error: Error) -> None:
        """End a task as canceled, and tell the instance that has it."""
        error.extra.setdefault("task", task)
        await self.store.cancel(task, error=msgspec.json.encode(error.as_dict()))

    def cancel_soon(self, task: str, error: Error) -> None:
        """Cancel a task whose caller has gone. If Redis is away, its deadline ends it."""
        self._run_soon(self.cancel(task, error), "a task is left to its deadline", task=task)

    def expire_soon(self, call: Call) -> None:
        """End a task whose deadline has passed; a sweep would as well, but later."""
        self._track(self._expire(call))

    async def _expire(self, call: Call) -> None:
        try:
            outcome = await self.store.expire(call.task)
        except Error as error:  # Redis is away, and the caller has waited long enough
            error.extra["task"] = call.task
            call.fail(error)
        else:
            if outcome.word == "early":  # this clock goes faster than that of Redis
                call.expire_in(int(outcome.rest[0]) / 1000)

    def _tell_soon(self, telling: Coroutine[Any, Any, None], task: str) -> None:
        self._run_soon(telling, "an agent could not be paused or resumed", task=task)

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
        """Register a connection as an instance, which is sent its orders from `activate` on.

        Raises:
            Error: ``forbidden`` if the agent or the instance is another user's; ``too_large``,
                ``rate_limited``, ``unavailable``.
        """
        holds = may_take_over(connection, agent)
        instance = ConnectedInstance(
            instance_id or secrets.token_urlsafe(16),
            agent,
            connection,
            self._redeliver,
            frozenset({SCOPE, scope_of(agent)} if holds else {SCOPE}),
        )
        async with self.channels.use(agent) as channel:
            former = channel.instances.get(instance.id)
            channel.instances[instance.id] = instance
            registering = asyncio.ensure_future(
                self.store.register(
                    agent,
                    instance.id,
                    user=connection.user or "",
                    capacity=capacity,
                    skills=skills,
                    may_take_over=holds,
                    may_be_new=not self.shares.nearly_full,
                )
            )
            try:
                registered = await asyncio.shield(registering)
            except BaseException:
                channel.restore(instance, former)
                if not registering.done():  # its connection has ended, and Redis may have it by now
                    self._track(self._undo_registration(instance, registering))
                raise
        if registered.refusal:
            channel.restore(instance, former)
            raise refused_registration(registered.refusal, agent, self.settings, self.shares)
        if former is not None:
            if former.connection is connection:
                instance.take_tasks_of(former)
            else:
                former.connection[REGISTRATION].instance = None
        for held in registered.tasks:
            instance.expect(held)
        connection[REGISTRATION].instance = instance
        self.directory.invalidate()
        return instance, registered.tasks

    async def _undo_registration(
        self, instance: ConnectedInstance, registering: "asyncio.Future[RegistrationReply]"
    ) -> None:
        with suppress(Error):
            await registering
            await self._leave(instance)

    def _redeliver(self, instance: ConnectedInstance) -> None:
        """Send an instance that has come back the tasks that it may not have been sent."""
        tasks = [task for task, mine in instance.tasks.items() if not mine.is_delivered]
        if tasks:
            words = "an instance is sent its tasks again later"
            self._run_soon(self._repeat_orders(instance, tasks), words, agent=instance.agent)

    async def _repeat_orders(self, instance: ConnectedInstance, tasks: Sequence[str]) -> None:
        for task in tasks:
            await self.store.repeat_orders(task, instance=instance.id)

    async def report(self, instance: ConnectedInstance, report: TaskReport) -> Outcome:
        """Write what an instance says of its task; wait while the caller can't keep up.

        Raises:
            Error: ``not_found``, ``conflict``, ``too_large``, ``unavailable``.
        """
        mine = instance.tasks.get(report.task)
        signals = 0 if mine is None else mine.signals
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
        if not isinstance(report, TaskUpdate):
            instance.drop(report.task)
        elif outcome.rest[2] == b"1" and mine is not None:
            if mine.signals == signals:  # else it has heard of what came after the report
                mine.resumed.clear()
            await self._wait_until_resumed(instance, mine, report)
        return outcome

    async def _wait_until_resumed(
        self, instance: ConnectedInstance, mine: AssignedTask, report: TaskUpdate
    ) -> None:
        empty = report._replace(seq=0, chunk_count=0, chunks=b"", state="")
        while not mine.resumed.is_set():
            try:
                async with asyncio.timeout(_PAUSE_CHECK):
                    await mine.resumed.wait()
            except TimeoutError:
                outcome = await self.store.report(instance.agent, empty)
                if outcome.word != "ok" or outcome.rest[2] != b"1":
                    mine.resumed.set()

    async def unregister(self, instance: ConnectedInstance) -> None:
        """Give an instance no more tasks; it may end those that it has."""
        await self.store.leave(instance.agent, instance.id, left=False)

    async def check_again(self, connection: Connection) -> None:
        """Take an instance away from a connection whose new identity lacks a scope it needs."""
        instance = connection[REGISTRATION].instance
        if instance is not None and not instance.needs <= connection.identity.scopes:
            self.leave(connection)

    def leave(self, connection: Connection) -> None:
        """Take an instance away from a connection that has ended; its tasks wait for a lease."""
        registration = connection[REGISTRATION]
        instance, registration.instance = registration.instance, None
        if instance is None:
            return
        channel = self.channels.by_agent.get(instance.agent)
        if channel is not None:
            channel.remove(instance)
        for mine in instance.tasks.values():
            mine.resumed.set()
        words = "an instance is left to its lease"
        self._run_soon(self._leave(instance), words, agent=instance.agent)

    async def _leave(self, instance: ConnectedInstance) -> None:
        await self.store.leave(instance.agent, instance.id, left=True)

    def _on_gap(self, channel: AgentChannel) -> None:
        channel.catch_up()
        self._track(self._upkeep.renew(channel))

    def _run_soon(self, work: Coroutine[Any, Any, Any], otherwise: str, **where: str) -> None:
        """Begin what may fail if Redis is away; log then what becomes of it."""
        self._track(self._run(work, otherwise, where))

    async def _run(
        self, work: Coroutine[Any, Any, Any], otherwise: str, where: Mapping[str, str]
    ) -> None:
        try:
            await work
        except Error as exc:
            _log.warning(otherwise, cause=str(exc), **where)

    def _track(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _check_found(outcome: Outcome) -> None:
    if outcome.word != "ok":
        raise Error("not_found", "There is no such task.")
