"""The tasks that an instance of an agent has, and what the server says of each."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from jackfield.client.socket import Message

from .line import Line
from .skill import AgentSkill
from .task import Assignment

_log = logging.getLogger("jackfield.agent")

#: Seconds that the last words about tasks may take, when the agent stops.
_LAST_WORDS: Final = 5.0


class Roster:
    """The tasks under way, each from its assignment to its end.

    Args:
        line: The way to the server.
        skills: What the agent can do, by id.
    """

    def __init__(self, line: Line, skills: Mapping[str, AgentSkill]) -> None:
        self._line = line
        self._skills = skills
        self._tasks: dict[str, Assignment] = {}
        self._jobs: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def take(self, message: Message) -> None:
        """Do what the server says; what is no news of a task is none for an agent."""
        match message:
            case {"type": "agent.assigned", "payload": {"task": str(), "attempt": int()} as news}:
                self._start(news)
            case {"type": "agent.canceled", "payload": {"task": str(), "attempt": int()} as news}:
                if (assignment := self._find(news)) is not None:
                    self._drop(assignment)
            case {"type": "agent.answered", "payload": {"task": str(), "attempt": int()} as news}:
                if (assignment := self._find(news)) is not None:
                    assignment.answer(news.get("answer"), news.get("input") or {})
            case {"type": "error", "error": {"message": words}}:
                _log.warning("The server says: %s", words)

    def keep(self, listed: Iterable[Message]) -> None:
        """Go on with the tasks that the server says this instance has, and drop the others.

        What this agent was not told of them, for a line that was lost, the server tells again.
        """
        own = {each["task"]: each["attempt"] for each in listed}
        for id_, assignment in [*self._tasks.items()]:
            if own.get(id_) != assignment.task.attempt:
                _log.warning("%s: it was taken from this agent while it was away", id_)
                self._drop(assignment)

    async def wait_empty(self) -> None:
        """Wait until no task is under way."""
        while self._tasks:
            await asyncio.wait(
                {assignment.job for assignment in self._tasks.values()},
                return_when=asyncio.FIRST_COMPLETED,
            )

    async def give_up(self) -> None:
        """Stop all tasks: those that another instance can do again are left to it, others fail."""
        left = [*self._tasks.values()]
        for assignment in left:
            self._drop(assignment)
        lost = [each for each in left if each.skill is None or not each.skill.idempotent]
        if lost:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await asyncio.gather(*(each.fail("The agent was stopped.") for each in lost))

    async def close(self) -> None:
        """Stop all tasks, and say nothing to the server."""
        for assignment in [*self._tasks.values()]:
            self._drop(assignment)
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)

    def _find(self, news: Message) -> Assignment | None:
        assignment = self._tasks.get(news["task"])
        if assignment is None or assignment.task.attempt != news["attempt"]:
            return None
        return assignment

    def _start(self, assigned: Message) -> None:
        former = self._tasks.get(assigned["task"])
        if former is not None:
            if former.task.attempt >= assigned["attempt"]:
                return  # sent again after a connection was lost
            self._drop(former)
        assignment = Assignment(self._line, assigned, self._skills.get(assigned["skill"]))
        self._tasks[assignment.task.id] = assignment
        self._own(assignment.job)
        assignment.job.add_done_callback(lambda _: self._forget(assignment))

    def _forget(self, assignment: Assignment) -> None:
        if self._tasks.get(assignment.task.id) is assignment:
            del self._tasks[assignment.task.id]

    def _drop(self, assignment: Assignment) -> None:
        """Stop a task that is this instance's no more."""
        self._forget(assignment)
        assignment.cancel()

    def _own(self, job: asyncio.Task[None]) -> None:
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
