from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from jackfield.testing import RunningServer
from tests.support.agents import Bot, Caller, agent_nodes


@pytest.fixture
async def servers(config: Mapping[str, Any]) -> AsyncIterator[list[RunningServer]]:
    """Two nodes on one Redis."""
    async with agent_nodes(config, 2) as servers:
        yield servers


@pytest.fixture
async def bot(servers: list[RunningServer]) -> AsyncIterator[Bot]:
    """A client of the first that may be an agent."""
    async with Bot(servers[0]) as bot:
        yield bot


@pytest.fixture
async def ada(servers: list[RunningServer]) -> AsyncIterator[Caller]:
    """A client of the second that calls agents."""
    async with Caller(servers[1], "ada") as ada:
        yield ada
