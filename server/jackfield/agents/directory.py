"""Which agents there are: what this node knows of them, and how fresh that is."""

import asyncio
import math
from typing import Any, Final, NamedTuple

import msgspec

from jackfield.schema.untrusted import UntrustedSchema, compile_untrusted
from jackfield.store.agents import AgentState, AgentStore
from jackfield.wire.errors import Error, field_fault, with_faults

#: Seconds that what is known counts as fresh. Calls are checked against Redis anyway.
_FRESH: Final = 1.0
#: Seconds between two looks for what isn't known: names that don't exist must cost nothing.
_LOOK_AGAIN: Final = 0.1
#: Schemas that are kept compiled.
_REMEMBERED: Final = 1000


class KnownSkill(NamedTuple):
    """A skill of an agent that can be called.

    Attributes:
        agent: The agent.
        id: The skill.
        digest: Which version of it.
        checker: What checks its input.
        idempotent: Whether it may be done again.
    """

    agent: str
    id: str
    digest: str
    checker: UntrustedSchema | None
    idempotent: bool


class Directory:
    """The agents of all nodes, as far as they have to be known here.

    Args:
        store: The agents in Redis.
    """

    def __init__(self, store: AgentStore) -> None:
        self._store = store
        self._agents: dict[str, AgentState] = {}
        self._read_at = -math.inf
        self._lock = asyncio.Lock()
        self._skills: dict[tuple[str, str], KnownSkill] = {}

    async def agents(self, *, max_age: float = _FRESH) -> dict[str, AgentState]:
        """All agents.

        Args:
            max_age: Seconds that what is known may be old.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        loop = asyncio.get_running_loop()
        if loop.time() - self._read_at > max_age:
            asked = loop.time()
            async with self._lock:
                if self._read_at < asked:
                    names = await self._store.agents()
                    states = await self._store.read(names)
                    self._agents = dict(zip(names, states, strict=True))
                    self._read_at = loop.time()
        return self._agents

    async def find(self, agent: str | None, skill: str | None) -> KnownSkill:
        """The skill that a call is for.

        Args:
            agent: The agent; None for the least busy that has the skill.
            skill: The skill; None for the only one that the agent has.

        Raises:
            Error: ``not_found``; ``invalid_payload`` if the agent has several; ``unavailable``.
        """
        known = self._known(await self.agents(max_age=10 * _FRESH), agent, skill)
        if known is None or agent is None:
            fresh = _FRESH if known is not None else _LOOK_AGAIN
            known = self._known(await self.agents(max_age=fresh), agent, skill)
        if known is None:
            raise Error("not_found", "There is no such agent, or it has no such skill.")
        return self._skill(*known)

    def forget(self) -> None:
        """What is known is old: the next look reads it anew."""
        self._read_at = -math.inf

    def _known(
        self, agents: dict[str, AgentState], agent: str | None, skill: str | None
    ) -> tuple[str, str] | None:
        if agent is None:
            able = [name for name, state in agents.items() if skill in state.skills]
            if skill is None or not able:
                return None
            return min(able, key=lambda name: _load(agents[name], skill)), skill
        state = agents.get(agent)
        if state is None:
            return None
        if skill is None:
            if len(state.skills) > 1:
                one_of = f"One of: {', '.join(sorted(state.skills))}."
                fault = field_fault("/skill", "required", one_of)
                words = "The agent has several skills; name one."
                raise with_faults("invalid_payload", [fault], words)
            return next(((agent, only) for only in state.skills), None)
        return (agent, skill) if skill in state.skills else None

    def _skill(self, agent: str, skill: str) -> KnownSkill:
        digest, definition = self._agents[agent].skills[skill]
        known = self._skills.get((agent, skill))
        if known is None or known.digest != digest:
            described: dict[str, Any] = msgspec.json.decode(definition)
            schema = described.get("input")
            checker = None if schema is None else compile_untrusted(schema)
            known = KnownSkill(agent, skill, digest, checker, bool(described.get("idempotent")))
            if len(self._skills) >= _REMEMBERED:
                self._skills.clear()
            self._skills[(agent, skill)] = known
        return known


def _load(state: AgentState, skill: str) -> tuple[bool, float]:
    """How busy an agent is for a skill; those without an instance come last."""
    able = [each for each in state.instances if skill in each.skills]
    capacity = sum(each.capacity for each in able)
    if not capacity:
        return True, float(state.waiting)
    return False, (sum(each.running for each in able) + state.waiting) / capacity
