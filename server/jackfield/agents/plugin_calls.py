"""Calls that the server's own code makes: a plugin's, in a handler or in the background."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from jackfield.wire.errors import Error

from .agents import Agents
from .followed_task import CallOptions
from .task import ENDED, Progress


async def call_agent(
    agents: Agents, agent: str | None, skill: str | None, **options: Any
) -> dict[str, Any]:
    """Call an agent and wait for its output; the options are those of `CallOptions`."""
    async with _called(agents, agent, skill, **options) as (task, progress):
        async for event in progress:
            if event.state in ENDED:
                output: dict[str, Any] = msgspec.json.decode(bytes(result_of(event, task)))
                return output
    raise AssertionError("a task's progress ends with its end")


async def stream_agent(
    agents: Agents, agent: str | None, skill: str | None, **options: Any
) -> AsyncGenerator[dict[str, Any], None]:
    """Call an agent and iterate over its chunks; the options are those of `CallOptions`."""
    async with _called(agents, agent, skill, **options) as (task, progress):
        async for event in progress:
            if event.kind == "chunks":
                for chunk in event.chunks:
                    yield msgspec.json.decode(bytes(chunk))
            elif event.state in ENDED:
                result_of(event, task)


def result_of(event: Progress, task: str) -> msgspec.Raw:
    """The output that the last event of a task tells.

    Raises:
        Error: It has not completed: why.
    """
    if event.state == "completed":
        return event.output
    told: dict[str, Any] = msgspec.json.decode(bytes(event.error))
    told.setdefault("task", task)
    raise Error(
        told.pop("code"), told.pop("message"), retryable=told.pop("retryable", False), **told
    )


@asynccontextmanager
async def _called(
    agents: Agents, agent: str | None, skill: str | None, **options: Any
) -> AsyncIterator[tuple[str, AsyncIterator[Progress]]]:
    known = await agents.directory.find(agent, skill)
    following = await agents.call(CallOptions(known, **options))
    try:
        yield following.task, following.progress()
    finally:
        following.stop(Error("cancelled", "The caller has left."))
