"""`Services`: the parts of a node that contexts and runtimes work with."""

import asyncio
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
    """The parts of a node that contexts and runtimes work with, the same for all plugins.

    Attributes:
        topics: The node's topics.
        topic_access: What clients may do with topics.
        agents: The node's agents.
        refresh: Replaces the identity of a connection.
        store: The connections' state in Redis.
        describe: Describes message types and topics; see `Registry.describe`.
        address: The address of the WebSocket, once the server listens; see `Runtime.listening`.
    """

    topics: Topics
    topic_access: TopicAccess
    agents: Agents
    refresh: IdentityRefresh
    store: ConnectionStore
    describe: Callable[[frozenset[str], str | None], dict[str, Any]]
    address: asyncio.Future[str]
