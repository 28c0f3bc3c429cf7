"""`Agents`: the part of one node in all that agents do: its calls and its instances."""

import asyncio
import secrets
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from jackfield.errors import Error
from jackfield.store.agents import AgentStore, Held, NewTask, Outcome, Registered, Report
from jackfield.store.topics import Place

from .call import Call
from .directory import Directory
from .following import Following, Wanted
from .instance import SCOPE, Instance, Task
from .lines import Line, Lines
from .skills import check
from .upkeep import Upkeep

if TYPE_CHECKING:
    from jackfield.config import Settings
    from jackfield.connection import Connection
    from jackfield.store.client import RedisClient
    from jackfield.store.keys import Keys
    from jackfield.topics.local import Topics

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

    def __init__(
        self, settings: "Settings", redis: "RedisClient", keys: "Keys", topics: "Topics"
    ) -> None:
        self.settings = settings.agents
        self.store = AgentStore(redis, keys, settings.agents)
        self.directory = Directory(self.store)
        #: Reports that were dropped: late, foreign or forged.
        self.dropped = 0
        #: Calls that were made here.
        self.called = 0
        self._keys = keys
        self._topics = topics
        self.lines = Lines(keys, topics, self._on_gap)
        self._upkeep = Upkeep(self.store, topics.store, self.lines, settings.agents.lease)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def instances(self) -> int:
        """How many instances are connected here."""
        return sum(len(line.instances) for line in self.lines.by_agent.values())

    @property
    def following(self) -> int:
        """How many tasks are followed here."""
        return sum(len(line.calls) for line in self.lines.by_agent.values())

    async def run(self) -> None:
        """Keep what is here alive and do what is due, until cancelled."""
        await self._upkeep.run()

    async def close(self) -> None:
        """Stop everything; that instances have left is told, if Redis is there."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._topics.settings.redis.timeout)
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.store.close()

    # Calling.

    async def call(self, wanted: Wanted) -> Following:
        """Call an agent.

        Raises:
            Error: ``invalid_payload``, ``not_found``, ``unavailable``.
        """
        while True:
            known = wanted.known
            if known.checker is not None:
                check(known.checker, wanted.input)
            line = await self.lines.take(known.agent)
            task = f"{known.agent}.{secrets.token_urlsafe(16)}"
            call = self._follow(line, task) if wanted.follow else None
            try:
                outcome = await self._create(task, wanted)
            except BaseException:
                self._unfollow(line, call)
                raise
            finally:
                line.users -= 1
            if outcome.word == "ok":
                self.called += 1
                following = Following(self, line, task, call)
                following.expire_in(self._timeout(wanted))
                return following
            self._unfollow(line, call)
            if outcome.word == "same":
                task = str(outcome.rest[0], "ascii")
                if not wanted.follow:
                    return Following(self, line, task, None)
                return await self.follow(known.agent, task)
            if outcome.word == "full":
                raise Error(
                    "unavailable",
                    "Too many calls wait for this agent.",
                    retry_after=_RETRY_AFTER,
                )
            # It has changed since it was looked up.
            self.directory.forget()
            wanted = replace(wanted, known=await self.directory.find(known.agent, known.id))

    async def _create(self, task: str, wanted: Wanted) -> Outcome:
        calling = self.store.call(wanted.known.agent, self._new_task(task, wanted))
        try:
            return await asyncio.shield(calling)
        except asyncio.CancelledError:  # the caller has left, and Redis may have the call by now
            if wanted.follow and not wanted.key:
                calling.add_done_callback(partial(self._cancel_unwanted, task))
            raise

    def _cancel_unwanted(self, task: str, calling: asyncio.Future[Outcome]) -> None:
        if not calling.cancelled() and not calling.exception() and calling.result().word == "ok":
            agent = task.partition(".")[0]
            self.cancel_soon(agent, task, Error("cancelled", "The caller has left."))

    def _timeout(self, wanted: Wanted) -> float:
        seconds = self.settings.timeout if wanted.timeout is None else wanted.timeout
        return min(seconds, self.settings.max_timeout)

    def _new_task(self, task: str, wanted: Wanted) -> NewTask:
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

    async def follow(self, agent: str, task: str) -> Following:
        """Follow a task from its beginning, whoever has called for it.

        Raises:
            Error: ``not_found``, ``unavailable``.
        """
        line = await self.lines.take(agent)
        call = self._follow(line, task)
        try:
            outcome = await self.store.act(agent, task, "follow", self._keys.node_id)
        except BaseException:
            self._unfollow(line, call)
            raise
        finally:
            line.users -= 1
        if outcome.word != "ok":
            self._unfollow(line, call)
            raise Error("not_found", "There is no such task.")
        call.look_again()
        following = Following(self, line, task, call)
        following.expire_in(int(outcome.rest[2]) / 1000)
        return following

    def _follow(self, line: Line, task: str) -> Call:
        keys = self._keys.topic(f"task:{task}")
        place = Place(keys, self.settings.events, round(self.settings.ttl * 1000))
        call = Call(task, place, self._topics.store, self._hold)
        line.add(call)
        return call

    def _unfollow(self, line: Line, call: Call | None) -> None:
        if call is not None:
            line.remove(call)

    async def cancel(self, agent: str, task: str, error: Error) -> Outcome:
        """End a task as canceled; the instance that has it is told."""
        error.extra.setdefault("task", task)
        return await self.store.act(agent, task, "cancel", msgspec.json.encode(error.as_dict()))

    def cancel_soon(self, agent: str, task: str, error: Error) -> None:
        """As `cancel`, for a caller that has gone. If Redis is away the deadline does it."""
        self._own(self._cancel(agent, task, error))

    async def _cancel(self, agent: str, task: str, error: Error) -> None:
        try:
            await self.cancel(agent, task, error)
        except Error:
            _log.warning("a task is left to its deadline: Redis is away", task=task)

    def expire_soon(self, following: Following) -> None:
        """The deadline of a task has passed; a sweep would find it as well, but later."""
        self._own(self._expire(following))

    async def _expire(self, following: Following) -> None:
        agent = following.task.partition(".")[0]
        try:
            outcome = await self.store.act(agent, following.task, "expire")
        except Error as error:  # nobody can say, and the caller has waited enough
            error.extra["task"] = following.task
            following.fail(error)
        else:
            if outcome.word == "early":  # this clock goes faster than that of Redis
                following.expire_in(int(outcome.rest[0]) / 1000)

    def _hold(self, call: Call, *, wait: bool) -> None:
        agent = call.task.partition(".")[0]
        self._own(self._tell_hold(agent, call.task, "1" if wait else ""))

    async def _tell_hold(self, agent: str, task: str, hold: str) -> None:
        try:
            await self.store.act(agent, task, "hold", self._keys.node_id, hold)
        except Error:
            _log.warning("an agent could not be told to wait or go on", task=task)

    # Serving.

    async def register(
        self,
        connection: "Connection",
        agent: str,
        instance_id: str | None,
        *,
        capacity: int,
        skills: dict[str, tuple[str, bytes]],
    ) -> tuple[Instance, list[Held]]:
        """Register a connection as an instance; `Instance.activate` has it told what is for it.

        Raises:
            Error: ``forbidden`` if the instance is another user's; ``unavailable``.
        """
        line = await self.lines.take(agent)
        instance = Instance(
            instance_id or secrets.token_urlsafe(16), agent, connection, self._remind
        )
        former = line.instances.get(instance.id)
        line.instances[instance.id] = instance
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
            line.restore(instance, former)
            if not registering.done():  # its connection has ended, and Redis may have it by now
                self._own(self._take_back(instance, registering))
            raise
        finally:
            line.users -= 1
        if registered.foreign:
            line.restore(instance, former)
            raise Error("forbidden", "The instance is another user's.", scopes=[])
        if former is not None:
            if former.connection is connection:
                instance.go_on_from(former)
            else:
                former.connection.instance = None
        for held in registered.tasks:
            instance.expect(held)
        connection.instance = instance
        self.directory.forget()
        return instance, registered.tasks

    async def _take_back(
        self, instance: Instance, registering: "asyncio.Future[Registered]"
    ) -> None:
        with suppress(Error):
            await registering
            await self._leave(instance)

    def _remind(self, instance: Instance) -> None:
        """Tell one that has come back again what it has: some may have been lost with its line."""
        tasks = [task for task, held in instance.tasks.items() if not held.told]
        if tasks:
            self._own(self._order(instance, tasks))

    async def _order(self, instance: Instance, tasks: Sequence[str]) -> None:
        try:
            for task in tasks:
                await self.store.act(instance.agent, task, "order", instance.id)
        except Error:
            _log.warning("an instance is reminded of its tasks later", agent=instance.agent)

    async def report(self, instance: Instance, report: Report) -> Outcome:
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
        if report.kind == "end":
            instance.drop(report.task)
        elif outcome.rest[2] == b"1" and held is not None:
            if held.signs == signs:  # else it has heard of what came after the report
                held.go.clear()
            await self._until_go(instance, held, report)
        return outcome

    async def _until_go(self, instance: Instance, held: Task, report: Report) -> None:
        again = report._replace(first=0, many=0, body=b"", state="")
        while not held.go.is_set():
            try:
                async with asyncio.timeout(_HOLD_LOOK):
                    await held.go.wait()
            except TimeoutError:  # what says go may be lost, as its sender may be
                outcome = await self.store.report(instance.agent, again)
                if outcome.word != "ok" or outcome.rest[2] != b"1":
                    held.go.set()

    async def unregister(self, instance: Instance) -> None:
        """An instance takes no more tasks; it may end those that it has."""
        await self.store.leave(instance.agent, instance.id, left=False)

    def check_again(self, connection: "Connection") -> None:
        """A connection has another identity; without the scope it is no agent any more."""
        if SCOPE not in connection.identity.scopes:
            self.leave(connection)

    def leave(self, connection: "Connection") -> None:
        """A connection has ended: its tasks wait for it for a lease."""
        instance, connection.instance = connection.instance, None
        if instance is None:
            return
        line = self.lines.by_agent.get(instance.agent)
        if line is not None:
            line.forget(instance)
        for held in instance.tasks.values():
            held.go.set()
        self._own(self._leave(instance))

    async def _leave(self, instance: Instance) -> None:
        try:
            await self.store.leave(instance.agent, instance.id, left=True)
        except Error:
            _log.warning("an instance is left to its lease: Redis is away", agent=instance.agent)

    def _on_gap(self, line: Line) -> None:
        line.look_again()
        self._own(self._upkeep.beat(line))

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
