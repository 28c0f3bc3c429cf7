"""`Directory`: the agents there are and what they can be called for, as far as known here."""

import asyncio
import math
from typing import Any, Final, NamedTuple

import msgspec

from jackfield.schema.untrusted import UntrustedSchema, compile_untrusted
from jackfield.store.agents import AgentState, AgentStore
from jackfield.wire.errors import Error, field_fault, with_faults

#: Seconds after which what is known is read anew. Calls are checked against Redis anyway.
_MAX_AGE: Final = 1.0
#: Seconds between two reads for the sake of unknown names: these must cost nothing.
_MISS_AGE: Final = 0.1
#: Skills whose schemas are kept compiled.
_MAX_SKILLS: Final = 1000


class KnownSkill(NamedTuple):
    """A skill of an agent that can be called.

    Attributes:
        agent: The agent.
        id: The skill.
        digest: The digest of its definition.
        checker: What checks its input; None if it takes any.
        idempotent: Whether another instance may do a task of it again.
    """

    agent: str
    id: str
    digest: str
    checker: UntrustedSchema | None
    idempotent: bool


class Directory:
    """The agents of all nodes, as far as calls from this node need them.

    Args:
        store: The agents in Redis.
    """

    def __init__(self, store: AgentStore) -> None:
        self._store = store
        self._agents: dict[str, AgentState] = {}
        self._read_at = -math.inf
        self._lock = asyncio.Lock()
        self._skills: dict[tuple[str, str], KnownSkill] = {}

    async def agents(self, *, max_age: float = _MAX_AGE) -> dict[str, AgentState]:
        """Return all agents.

        Args:
            max_age: Seconds for which what is known is not read anew.

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
        """Find the skill that a call is for.

        Args:
            agent: The agent; None for the least busy that has the skill.
            skill: The skill; None for the only one that the agent has.

        Raises:
            Error: ``not_found``; ``invalid_payload`` if the agent has several; ``unavailable``.
        """
        match = _match(await self.agents(max_age=10 * _MAX_AGE), agent, skill)
        if match is None or agent is None:
            max_age = _MAX_AGE if match is not None else _MISS_AGE
            match = _match(await self.agents(max_age=max_age), agent, skill)
        if match is None:
            raise Error("not_found", "There is no such agent, or it has no such skill.")
        return self._known_skill(*match)

    def invalidate(self) -> None:
        """Have the agents read anew when they are asked for next: some have changed."""
        self._read_at = -math.inf

    def _known_skill(self, agent: str, skill: str) -> KnownSkill:
        digest, definition = self._agents[agent].skills[skill]
        known = self._skills.get((agent, skill))
        if known is None or known.digest != digest:
            described: dict[str, Any] = msgspec.json.decode(definition)
            schema = described.get("input")
            checker = None if schema is None else compile_untrusted(schema)
            known = KnownSkill(agent, skill, digest, checker, bool(described.get("idempotent")))
            if len(self._skills) >= _MAX_SKILLS:
                self._skills.clear()
            self._skills[(agent, skill)] = known
        return known


def _match(
    agents: dict[str, AgentState], agent: str | None, skill: str | None
) -> tuple[str, str] | None:
    """Return the agent and the skill that a call is for; None if there is none."""
    if agent is None:
        able = [name for name, state in agents.items() if skill in state.skills]
        if skill is None or not able:
            return None
        return min(able, key=lambda name: _utilisation(agents[name], skill)), skill
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


def _utilisation(state: AgentState, skill: str) -> tuple[bool, float]:
    """Tell how busy an agent is for a skill; one without an instance for it sorts last."""
    able = [each for each in state.instances if skill in each.skills]
    capacity = sum(each.capacity for each in able)
    if not capacity:
        return True, float(state.waiting)
    return False, (sum(each.running for each in able) + state.waiting) / capacity
