"""Agents in Redis: instances, the queues of their skills, and the tasks.

All keys of an agent are of one slot, so each step of a task is one script call: it moves the task,
frees or fills an instance, writes the event and tells the nodes. What is wanted of one agent in one
tick goes in one call.
"""

import asyncio
import secrets
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jackfield.redis.batching import Batcher
from jackfield.redis.client import RedisClient, Script

from .keys import Keys
from .lua import load

if TYPE_CHECKING:
    from jackfield.config.settings import AgentSettings


def _load(name: str) -> Script:
    return load(name, "open_topic", "tasks")


_CALL: Final = _load("call_agents")
_WORK: Final = _load("work_on_tasks")
_ACT: Final = _load("act_on_task")
_REGISTER: Final = _load("register_instance")
_REFRESH: Final = _load("refresh_instances")
_LEAVE: Final = _load("leave_agent")
_SWEEP: Final = _load("sweep_agent")
_READ: Final = load("read_agent")
_ANNOUNCE: Final = load("announce_agent")


class NewTask(NamedTuple):
    """A call on its way to Redis.

    Attributes:
        id: Of the task.
        skill: The skill that is called.
        digest: Of the skill by which the input was checked.
        brief: The start of the task object in JSON, without its brace.
        input: In JSON.
        timeout: Seconds.
        node: The node that follows it; "" for none.
        caller: The caller's user, in JSON.
        watchers: Who else may see it, in JSON.
        key: The idempotency key among all calls of the agent; "" for none.
        idempotent: Whether another instance may do it again.
    """

    id: str
    skill: str
    digest: str
    brief: bytes
    input: bytes
    timeout: float
    node: str
    caller: bytes
    watchers: bytes
    key: str
    idempotent: bool


class Report(NamedTuple):
    """What an instance says of a task.

    Attributes:
        kind: ``update`` or ``end``.
        task: The task.
        instance: Who says it.
        attempt: Which attempt it is of.
        first: Of chunks, the number of the first; of an end, the state.
        many: How many chunks; of an end, ``output`` or ``error``.
        body: The chunks, joined by commas, or the value; in JSON.
        state: The new state, "" for the same.
        prompt: What it asks for, in JSON.
        expires: Seconds until nobody needs to answer any more.
    """

    kind: str
    task: str
    instance: str
    attempt: int
    first: int | str
    many: int | str
    body: bytes
    state: str = ""
    prompt: bytes = b""
    expires: float = 0


class Outcome(NamedTuple):
    """What a script says of one task: its word, the state, and what else there is."""

    word: str
    rest: tuple[bytes, ...]

    @property
    def state(self) -> str:
        """The task's state, where it is told."""
        return str(self.rest[0], "ascii") if self.rest else ""


class Held(NamedTuple):
    """A task that an instance has; ``answers`` counts how often it was answered."""

    task: str
    attempt: int
    answers: int
    seq: int = 0
    state: str = ""


class Registered(NamedTuple):
    """How a registration went; ``tasks`` are what an instance that has come back still has."""

    foreign: bool
    tasks: list[Held]


class Instance(NamedTuple):
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
    instances: list[Instance]


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
        self._calling: Batcher[tuple[str, NewTask], Outcome] = Batcher(self._call, _size_of_call)
        self._reporting: Batcher[tuple[str, Report], Outcome] = Batcher(
            self._report, _size_of_report
        )

    def call(self, agent: str, task: NewTask) -> asyncio.Future[Outcome]:
        """Call an agent.

        Returns:
            ``ok``; ``same`` and the id of the task that has the key; ``unknown`` or ``stale`` if
            the skill is none of its, or another by now; ``full`` if too many wait.
        """
        return self._calling.add(agent, (agent, task))

    async def report(self, agent: str, report: Report) -> Outcome:
        """Have an instance say something of its task; the words are those of the script."""
        return await self._reporting.add(agent, (agent, report))

    async def act(self, task: str, verb: str, *args: str | bytes) -> Outcome:
        """Have a caller, or its node, do something with a task; see the script."""
        padding = ("",) * (2 - len(args))
        return _outcome(await self._run(_ACT, _agent(task), task, verb, *args, *padding))

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
    ) -> Registered:
        """Register an instance at this node, or one that has come back to it.

        Args:
            agent: The agent.
            instance: Its id.
            user: Whose it is; another's is not to be had.
            capacity: How many tasks it takes at once.
            skills: Digest and definition of each.
        """
        definitions = [
            part
            for skill, (digest, definition) in skills.items()
            for part in (skill, b"%s %s" % (digest.encode(), definition))
        ]
        reply = await self._run(
            _REGISTER,
            agent,
            instance,
            self._keys.node_id,
            user,
            capacity,
            " ".join(skills),
            _ms(self._settings.lease),
            _ms(self._settings.remember),
            *definitions,
        )
        if reply == [b"foreign"]:
            return Registered(foreign=True, tasks=[])
        tasks = [
            Held(str(task, "ascii"), int(attempt), int(answers), int(seq), str(state, "ascii"))
            for task, attempt, answers, seq, state in zip(*[iter(reply)] * 5, strict=True)
        ]
        await self._enter(agent)
        return Registered(foreign=False, tasks=tasks)

    async def refresh(self, agent: str, instances: Sequence[str]) -> list[list[Held] | None]:
        """Renew the leases of this node's instances; None for those that are none of it."""
        reply = await self._run(
            _REFRESH,
            agent,
            self._keys.node_id,
            _ms(self._settings.lease),
            _ms(self._settings.remember),
            *instances,
        )
        if instances:
            await self._enter(agent)
        return [
            [
                Held(str(task, "ascii"), int(attempt), int(answers))
                for task, attempt, answers in zip(*[iter(held[1:])] * 3, strict=True)
            ]
            if held[0]
            else None
            for held in reply
        ]

    async def leave(self, agent: str, instance: str, *, left: bool) -> None:
        """An instance takes no more; ``left`` if its connection has ended, too."""
        await self._run(
            _LEAVE,
            agent,
            instance,
            self._keys.node_id,
            "1" if left else "",
            _ms(self._settings.lease),
        )

    async def sweep(self, agents: Collection[str]) -> None:
        """Do what is due of agents."""
        if agents:
            common = self._common()
            await self._client.run_each(
                _SWEEP, [([self._keys.agent(agent)], common) for agent in agents]
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
        await self._calling.close()
        await self._reporting.close()

    async def _enter(self, agent: str) -> None:
        """Note that an agent is there, and forget those that were not for long."""
        await self._client.run(
            _ANNOUNCE, [self._keys.agents], [agent, _ms(self._settings.remember)]
        )

    async def _run(self, script: Script, agent: str, *args: Any) -> Any:
        return await self._client.run(script, [self._keys.agent(agent)], [*self._common(), *args])

    def _common(self) -> tuple[Any, ...]:
        settings = self._settings
        epoch = secrets.token_urlsafe(6)
        return epoch, settings.events, _ms(settings.ttl), settings.attempts

    async def _call(self, calls: Sequence[tuple[str, NewTask]]) -> list[Outcome]:
        args: list[Any] = [self._settings.queue]
        for _, task in calls:
            args += task[:5]
            args += (_ms(task.timeout), *task[6:10], "1" if task.idempotent else "")
        replies = await self._run(_CALL, calls[0][0], *args)
        return [_outcome(reply) for reply in replies]

    async def _report(self, reports: Sequence[tuple[str, Report]]) -> list[Outcome]:
        args: list[Any] = []
        for _, report in reports:
            args += report[:9]
            args.append(_ms(report.expires))
        replies = await self._run(_WORK, reports[0][0], *args)
        return [_outcome(reply) for reply in replies]


def _agent(task: str) -> str:
    """Whose a task is; its id says so."""
    return task.partition(".")[0]


def _outcome(reply: list[Any]) -> Outcome:
    word, *rest = (each if isinstance(each, bytes) else b"%d" % each for each in reply)
    return Outcome(str(word, "ascii"), tuple(rest))


def _state(reply: list[bytes]) -> AgentState:
    border = reply.index(b"")
    skills = {}
    for skill, text in zip(reply[1:border:2], reply[2:border:2], strict=True):
        digest, _, definition = text.partition(b" ")
        skills[str(skill, "ascii")] = (str(digest, "ascii"), definition)
    instances = [
        Instance(int(capacity), int(running), frozenset(str(names, "ascii").split()))
        for capacity, running, names in zip(*[iter(reply[border + 1 :])] * 3, strict=True)
    ]
    return AgentState(int(reply[0]), skills, instances)


def _size_of_call(item: tuple[str, NewTask]) -> int:
    return len(item[1].input) + len(item[1].brief)


def _size_of_report(item: tuple[str, Report]) -> int:
    return len(item[1].body)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
