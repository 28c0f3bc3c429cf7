"""`Services`: the parts of a node that plugins' code reaches through its context and runtime."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jackfield.agents.agents import Agents
from jackfield.auth.refresh import IdentityRefresh
from jackfield.store.connections import ConnectionStore
from jackfield.topics.access import TopicAccess
from jackfield.topics.topics import Topics


@dataclass(frozen=True, slots=True)
class Services:
    """What contexts and runtimes work with; one for all plugins of a node.

    Attributes:
        topics: The node's topics.
        topic_access: What its clients may do with them.
        agents: The node's agents.
        refresh: What swaps the identity of a connection.
        store: The connections' state in Redis.
        describe: The message types and topics that an identity with these scopes may use; see
            `Registry.describe`.
    """

    topics: Topics
    topic_access: TopicAccess
    agents: Agents
    refresh: IdentityRefresh
    store: ConnectionStore
    describe: Callable[[frozenset[str], str | None], dict[str, Any]]
