"""Calls that plugins make, in a handler or in the background: `call_agent` and `stream_agent`."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from jackfield.wire.errors import Error

from .agents import Agents
from .call import CallOptions
from .task import ENDED, Progress, output_of


async def call_agent(
    agents: Agents, agent: str | None, skill: str | None, **options: Any
) -> dict[str, Any]:
    """Call an agent and wait for its output; the options are those of `CallOptions`."""
    async with _calling(agents, agent, skill, **options) as (task, progress):
        async for event in progress:
            if event.state in ENDED:
                output: dict[str, Any] = msgspec.json.decode(bytes(output_of(event, task)))
                return output
    raise AssertionError("a task's progress ends with its end")


async def stream_agent(
    agents: Agents, agent: str | None, skill: str | None, **options: Any
) -> AsyncGenerator[dict[str, Any], None]:
    """Call an agent and iterate over its chunks; the options are those of `CallOptions`."""
    async with _calling(agents, agent, skill, **options) as (task, progress):
        async for event in progress:
            if event.kind == "chunks":
                for chunk in event.chunks:
                    yield msgspec.json.decode(bytes(chunk))
            elif event.state in ENDED:
                output_of(event, task)


@asynccontextmanager
async def _calling(
    agents: Agents, agent: str | None, skill: str | None, **options: Any
) -> AsyncIterator[tuple[str, AsyncIterator[Progress]]]:
    """Make a call, and cancel it if the context is left before its end."""
    known = await agents.directory.find(agent, skill)
    call = await agents.call(CallOptions(known, **options))
    try:
        yield call.task, call.progress()
    finally:
        call.stop(Error("cancelled", "The caller has left."))
