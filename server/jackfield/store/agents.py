"""Agents in Redis: instances, the queues of their skills, and the tasks.

All keys of an agent are of one slot, so each step of a task is one script call: it moves the task,
frees or fills an instance, writes the event and tells the nodes. What is wanted of one agent in one
tick goes in one call.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jackfield.redis.batching import Batcher
from jackfield.redis.client import Argument, RedisClient, Script

from .arguments import flag, flat, milliseconds, rows
from .keys import Keys
from .lua import load
from .tasks import HeldTask, NewTask, Outcome, TaskReport
from .topics import new_epoch

if TYPE_CHECKING:
    from jackfield.config.settings import AgentSettings


def _load(name: str, *parts: str) -> Script:
    return load(name, "open_topic", "clock", "tasks", *parts)


_CALL: Final = _load("call_agents")
_REPORT: Final = _load("work_on_tasks")
_FOLLOW: Final = _load("follow_task")
_CANCEL: Final = _load("cancel_task")
_EXPIRE: Final = _load("expire_task")
_ANSWER: Final = _load("answer_task")
_HOLD: Final = _load("hold_task")
_REPEAT: Final = _load("repeat_orders")
_REGISTER: Final = _load("register_instance", "instances")
_REFRESH: Final = _load("refresh_instances", "instances")
_LEAVE: Final = _load("leave_agent", "instances")
_SWEEP: Final = _load("sweep_agent", "instances")
_READ: Final = load("read_agent", "clock")
_ANNOUNCE: Final = load("announce_agent", "clock")
_CLAIM: Final = load("claim_agent", "clock")


class RegistrationReply(NamedTuple):
    """How a registration went.

    Attributes:
        refusal: ``foreign`` or ``owned`` if the instance or the agent is another user's;
            ``too_many`` if the user has as many agents as may be; ``no_room`` if there is none
            for the skills; "" if it is registered.
        tasks: What an instance that has come back still has.
    """

    refusal: str
    tasks: list[HeldTask]


class InstanceLoad(NamedTuple):
    """How busy an instance is."""

    capacity: int
    running: int
    skills: frozenset[str]


class AgentState(NamedTuple):
    """What is known of an agent.

    Attributes:
        waiting: How many of its calls wait for an instance.
        skills: Digest and definition of each.
        instances: Those that take calls.
    """

    waiting: int
    skills: dict[str, tuple[str, bytes]]
    instances: list[InstanceLoad]


class AgentStore:
    """The agents of all nodes, in Redis.

    Every method raises `Error` ``unavailable`` if Redis is away; what was wanted may have been done
    then, and can be asked for again: calls by their key, reports by their numbers.

    Args:
        client: The client.
        keys: The keys of this node.
        settings: See `jackfield.config.AgentSettings`.
    """

    def __init__(self, client: RedisClient, keys: Keys, settings: "AgentSettings") -> None:
        self._client = client
        self._keys = keys
        self._settings = settings
        self._calls: Batcher[tuple[str, NewTask], Outcome] = Batcher(self._call, _size)
        self._reports: Batcher[tuple[str, TaskReport], Outcome] = Batcher(self._report, _size)

    def call(self, agent: str, task: NewTask) -> asyncio.Future[Outcome]:
        """Call an agent.

        Returns:
            ``ok``; ``same`` and the id of the task that has the key; ``unknown`` or ``stale`` if
            the skill is none of its, or another by now; ``full`` if too many wait, ``share``
            if too many of this caller do.
        """
        return self._calls.add(agent, (agent, task))

    async def report(self, agent: str, report: TaskReport) -> Outcome:
        """Have an instance say something of its task; the words are those of the script."""
        return await self._reports.add(agent, (agent, report))

    async def follow(self, task: str, *, node: str) -> Outcome:
        """Have a node be told what becomes of a task.

        Returns:
            ``ok``, the epoch and offset of its topic, and how many milliseconds it has left;
            ``missing``.
        """
        return await self._act(_FOLLOW, task, node)

    async def cancel(self, task: str, *, error: bytes) -> Outcome:
        """End a task as canceled, by an error object in JSON; ``ok``, ``missing`` or ``ended``."""
        return await self._act(_CANCEL, task, error)

    async def expire(self, task: str) -> Outcome:
        """End a task whose deadline has passed.

        Returns:
            ``ok``; ``missing``; ``ended``; ``early`` and how many milliseconds are left.
        """
        return await self._act(_EXPIRE, task)

    async def answer(self, task: str, *, answer: bytes, key: str) -> Outcome:
        """Answer what a task asks for.

        Args:
            task: The task.
            answer: In JSON.
            key: An idempotency key; "" for none.

        Returns:
            ``ok``; ``missing``; ``ended`` or ``illegal`` if it asks for nothing, and its state.
        """
        return await self._act(_ANSWER, task, answer, key)

    async def hold(self, task: str, *, node: str, wait: bool) -> Outcome:
        """Have the instance that has a task wait for the caller at a node, or go on."""
        return await self._act(_HOLD, task, node, flag(wait))

    async def repeat_orders(self, task: str, *, instance: str) -> Outcome:
        """Tell an instance again what it has missed of a task; ``ok`` or ``missing``."""
        return await self._act(_REPEAT, task, instance)

    async def read_task(self, task: str) -> dict[str, bytes]:
        """All that is kept of a task; nothing if there is none."""
        fields = await self._client.execute("HGETALL", self._keys.task(_agent(task), task))
        return {str(name, "ascii"): value for name, value in fields.items()}

    async def register(
        self,
        agent: str,
        instance: str,
        *,
        user: str,
        capacity: int,
        skills: dict[str, tuple[str, bytes]],
        may_take_over: bool = False,
        may_be_new: bool = True,
    ) -> RegistrationReply:
        """Register an instance at this node, or one that has come back to it.

        Args:
            agent: The agent.
            instance: Its id.
            user: Whose it is, "" if anonymous; another's is not to be had.
            capacity: How many tasks it takes at once.
            skills: Digest and definition of each.
            may_take_over: Whether the agent may be had although it is another user's.
            may_be_new: Whether the user may have another agent than before.
        """
        definitions = (
            (skill, b"%s %s" % (digest.encode(), definition))
            for skill, (digest, definition) in skills.items()
        )
        claimed = await self._claim(agent, user, self._settings.per_user if may_be_new else 0)
        if claimed == b"full":
            owner = await self._client.execute("GET", self._keys.agent_owner(agent))
            is_owned = owner not in (None, user.encode()) and not may_take_over
            return RegistrationReply("owned" if is_owned else "too_many", [])
        reply = await self._run(
            _REGISTER,
            agent,
            instance,
            self._keys.node_id,
            user,
            capacity,
            " ".join(skills),
            milliseconds(self._settings.lease),
            milliseconds(self._settings.remember),
            flag(may_take_over),
            self._settings.skills_bytes,
            *flat(definitions),
        )
        if len(reply) == 1:
            if claimed == b"new":
                await self._client.execute("ZREM", self._keys.user_agents(user), agent)
            return RegistrationReply(str(reply[0], "ascii"), [])
        tasks = [
            HeldTask(str(task, "ascii"), int(attempt), int(answers), int(seq), str(state, "ascii"))
            for task, attempt, answers, seq, state in rows(reply, 5)
        ]
        await self._announce(agent)
        return RegistrationReply("", tasks)

    async def refresh(
        self, agent: str, instances: Sequence[str], users: Collection[str] = ()
    ) -> list[list[HeldTask] | None]:
        """Renew the leases of this node's instances, which are of these users.

        Returns:
            What each instance has; None for those that are none of this node's.
        """
        reply = await self._run(
            _REFRESH,
            agent,
            self._keys.node_id,
            milliseconds(self._settings.lease),
            milliseconds(self._settings.remember),
            *instances,
        )
        if instances:
            await self._announce(agent)
        for user in users:
            await self._claim(agent, user)
        return [_held(tasks) if is_ours else None for is_ours, *tasks in reply]

    async def leave(self, agent: str, instance: str, *, left: bool) -> None:
        """An instance takes no more; ``left`` if its connection has ended, too."""
        await self._run(
            _LEAVE,
            agent,
            instance,
            self._keys.node_id,
            flag(left),
            milliseconds(self._settings.lease),
        )

    async def sweep(self, agents: Collection[str]) -> None:
        """Do what is due of agents."""
        if agents:
            shared = self._shared()
            await self._client.run_each(
                _SWEEP, [([self._keys.agent(agent)], shared) for agent in agents]
            )

    async def agents(self) -> list[str]:
        """The names of all agents that are remembered."""
        names = await self._client.execute("ZRANGE", self._keys.agents, 0, -1)
        return [str(name, "ascii") for name in names]

    async def read(self, agents: Sequence[str]) -> list[AgentState]:
        """What is known of agents."""
        if not agents:
            return []
        calls = [([self._keys.agent(agent)], ()) for agent in agents]
        return [_state(reply) for reply in await self._client.run_each(_READ, calls)]

    async def close(self) -> None:
        """Give up what is under way."""
        await self._calls.close()
        await self._reports.close()

    async def _announce(self, agent: str) -> None:
        """Note that an agent is there, and forget those that were not for long."""
        await self._client.run(
            _ANNOUNCE, [self._keys.agents], [agent, milliseconds(self._settings.remember)]
        )

    async def _claim(self, agent: str, user: str, most: int | None = None) -> bytes:
        """Count an agent among a user's; see ``claim_agent.lua``."""
        args = (agent, milliseconds(self._settings.remember), "" if most is None else most)
        word: bytes = await self._client.run(_CLAIM, [self._keys.user_agents(user)], args)
        return word

    async def _run(self, script: Script, agent: str, *args: Argument) -> Any:
        return await self._client.run(script, [self._keys.agent(agent)], [*self._shared(), *args])

    async def _act(self, script: Script, task: str, *args: Argument) -> Outcome:
        return _outcome(await self._run(script, _agent(task), task, *args))

    def _shared(self) -> tuple[Argument, ...]:
        """What all scripts of agents but those that read are given first."""
        settings = self._settings
        return new_epoch(), settings.events, milliseconds(settings.ttl), settings.attempts

    async def _call(self, calls: Sequence[tuple[str, NewTask]]) -> list[Outcome]:
        tasks = flat(task.arguments() for _, task in calls)
        settings = self._settings
        replies = await self._run(_CALL, calls[0][0], settings.queue, settings.queue_share, *tasks)
        return [_outcome(reply) for reply in replies]

    async def _report(self, reports: Sequence[tuple[str, TaskReport]]) -> list[Outcome]:
        args = flat(report.arguments() for _, report in reports)
        replies = await self._run(_REPORT, reports[0][0], *args)
        return [_outcome(reply) for reply in replies]


def _agent(task: str) -> str:
    """Whose a task is; its id says so."""
    return task.partition(".")[0]


def _held(reply: Sequence[bytes]) -> list[HeldTask]:
    return [
        HeldTask(str(task, "ascii"), int(attempt), int(answers))
        for task, attempt, answers in rows(reply, 3)
    ]


def _outcome(reply: Sequence[bytes | int]) -> Outcome:
    word, *rest = (each if isinstance(each, bytes) else b"%d" % each for each in reply)
    return Outcome(str(word, "ascii"), tuple(rest))


def _state(reply: list[bytes]) -> AgentState:
    waiting, border = int(reply[0]), reply.index(b"")
    skills = {}
    for skill, text in rows(reply[1:border], 2):
        digest, _, definition = text.partition(b" ")
        skills[str(skill, "ascii")] = (str(digest, "ascii"), definition)
    instances = [
        InstanceLoad(int(capacity), int(running), frozenset(str(names, "ascii").split()))
        for capacity, running, names in rows(reply[border + 1 :], 3)
    ]
    return AgentState(waiting, skills, instances)


def _size(item: tuple[str, NewTask | TaskReport]) -> int:
    return item[1].size
