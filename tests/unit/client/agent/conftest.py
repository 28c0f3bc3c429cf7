from collections.abc import AsyncIterator

import pytest

from jackfield.client import Agent, Task
from tests.support.agent_registry import FAST_RETRY, AgentRegistry, Message
from tests.support.peer import Server, serve


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server that the test scripts."""
    async with serve() as server:
        yield server


@pytest.fixture
def registry(server: Server) -> AgentRegistry:
    """What that server does with agents."""
    registry = AgentRegistry()
    server.answer = registry.answer
    return registry


@pytest.fixture
def agent(server: Server) -> Agent:
    """An agent with one skill, which returns its input."""
    agent = Agent("a", server.url, capacity=4, grace=5, **FAST_RETRY)

    @agent.skill("echo")
    async def echo(task: Task, data: Message) -> Message:
        """Say it again."""
        return data

    return agent
