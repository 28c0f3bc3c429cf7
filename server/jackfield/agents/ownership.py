"""Whose an agent is: who may register instances of it, and in which words others are refused.

It belongs to the user who registered it first, for as long as it is remembered, or to whoever has
taken it over with the scope ``agent:<name>``. All anonymous clients are one owner.
"""

from typing import Final

from jackfield.config import AgentSettings
from jackfield.connection.connection import Connection
from jackfield.connection.shares import Shares
from jackfield.wire.errors import Error

#: The scope that an identity must have to be an agent.
SCOPE: Final = "agent"
#: Seconds that a user with too many agents is told to wait: for one to be forgotten.
_TOO_MANY_WAIT: Final = 60.0


def scope_of(agent: str) -> str:
    """Return the scope whose holders may take an agent over."""
    return f"{SCOPE}:{agent}"


def may_take_over(connection: Connection, agent: str) -> bool:
    """Tell whether a client may have an agent although it is another user's."""
    return scope_of(agent) in connection.identity.scopes


def not_owner(agent: str) -> Error:
    """Return the refusal of who would need the scope of an agent."""
    return Error("forbidden", f"The agent {agent!r} is another user's.", scopes=[scope_of(agent)])


def refused_registration(word: str, agent: str, settings: AgentSettings, shares: Shares) -> Error:
    """Return why a registration was refused.

    Args:
        word: What the store says, see `RegistrationReply`.
        agent: The agent.
        settings: How much one may have.
        shares: Count the refusals.
    """
    if word == "owned":
        return not_owner(agent)
    if word == "too_many":
        shares.check_memory()  # then no name may be new
        shares.count_refusal("per_user")
        limit = settings.per_user
        return Error(
            "rate_limited",
            f"A user may have {limit} agents.",
            retry_after=_TOO_MANY_WAIT,
            limit=limit,
        )
    if word == "no_room":
        shares.count_refusal("skills_bytes")
        limit = settings.skills_bytes
        return Error("too_large", f"The agent's skills are larger than {limit} bytes.", limit=limit)
    return Error("forbidden", "The instance is another user's.", scopes=[])
