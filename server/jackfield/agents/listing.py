"""The list of agents that clients read, in pages that fit into a reply."""

from collections.abc import Mapping
from typing import Any, Final

from jackfield.store.agents import AgentState
from jackfield.wire.protocol import Codec

#: Of a reply's bytes, what its envelope and the cursor may take.
_ENVELOPE_BYTES: Final = 512


def describe_agent(name: str, state: AgentState, codec: Codec) -> dict[str, Any]:
    """Return an agent as clients see it."""
    return {
        "name": name,
        "skills": [codec.embed(definition) for _, definition in state.skills.values()],
        "instances": len(state.instances),
        "capacity": sum(each.capacity for each in state.instances),
        "running": sum(each.running for each in state.instances),
        "queued": state.waiting,
    }


def page_of(
    agents: Mapping[str, AgentState],
    codec: Codec,
    *,
    skill: str | None,
    after: str | None,
    limit: int,
    reply_bytes: int,
) -> dict[str, Any]:
    """Return one page of agents in the order of their names.

    Args:
        agents: All agents.
        codec: The encoding that the page is sent in.
        skill: Only those that have this skill; None for all.
        after: Only those whose names come behind this one; None from the beginning.
        limit: How many there may be in the page.
        reply_bytes: Bytes of the reply; one agent that needs more alone has only the ids of its
            skills, or none.
    """
    room = reply_bytes - _ENVELOPE_BYTES
    page: list[dict[str, Any]] = []
    for name in sorted(agents):
        state = agents[name]
        if after is not None and name <= after:
            continue
        if skill is not None and skill not in state.skills:
            continue
        described = describe_agent(name, state, codec)
        size = _size(described, codec)
        if not page and size > room:
            described["skills"] = [{"id": each} for each in state.skills]
            if _size(described, codec) > room:
                described["skills"] = []
            size = _size(described, codec)
        if page and (size > room or len(page) >= limit):
            return {"agents": page, "next": page[-1]["name"]}
        page.append(described)
        room -= size
    return {"agents": page}


def _size(described: dict[str, Any], codec: Codec) -> int:
    return len(codec.reply(0, described))
