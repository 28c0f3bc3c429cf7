"""The tasks that an agent is running, and what the server's messages about them change."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from jackfield.client.message import Message

from .assignment import Assignment
from .registration import Registration
from .skill import AgentSkill

_log = logging.getLogger("jackfield.agent")

#: Seconds that reporting the failed tasks may take when the agent stops: several round trips, and
#: little beside the grace that has passed by then.
_REPORT_TIMEOUT: Final = 5.0


class RunningTasks:
    """The tasks of an agent, each from its assignment to its end.

    Args:
        registration: What sends the requests.
        skills: What the agent can be called for, by id.
    """

    def __init__(self, registration: Registration, skills: Mapping[str, AgentSkill]) -> None:
        self._registration = registration
        self._skills = skills
        self._assignments: dict[str, Assignment] = {}
        self._jobs: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._assignments)

    def handle(self, message: Message) -> None:
        """Act on a message of the server; messages that are not for agents are ignored."""
        match message:
            case {"type": "agent.assigned", "payload": {"task": str(), "attempt": int()} as about}:
                self._start(about)
            case {"type": "agent.canceled", "payload": {"task": str(), "attempt": int()} as about}:
                if (assignment := self._find(about)) is not None:
                    self._cancel(assignment)
            case {"type": "agent.answered", "payload": {"task": str(), "attempt": int()} as about}:
                if (assignment := self._find(about)) is not None:
                    assignment.answer(about.get("answer"), about.get("input") or {})
            case {"type": "error", "error": {"message": text}}:
                _log.warning("The server sent an error: %s", text)

    def keep_only(self, listed: Iterable[Message]) -> None:
        """Cancel all tasks but those that the server says this instance has.

        The server sends again what it has to say about these and could not while the connection
        was lost.
        """
        attempts = {each["task"]: each["attempt"] for each in listed}
        for id_, assignment in [*self._assignments.items()]:
            if attempts.get(id_) != assignment.task.attempt:
                _log.warning("%s: the task was taken away while the agent was not connected", id_)
                self._cancel(assignment)

    async def wait_empty(self) -> None:
        """Wait until no task is running."""
        while self._assignments:
            await asyncio.wait(
                {assignment.job for assignment in self._assignments.values()},
                return_when=asyncio.FIRST_COMPLETED,
            )

    async def give_up(self) -> None:
        """Cancel all tasks, and report as failed those that no other instance may repeat."""
        cancelled = [*self._assignments.values()]
        for assignment in cancelled:
            self._cancel(assignment)
        failed = [each for each in cancelled if each.skill is None or not each.skill.idempotent]
        if failed:
            with suppress(TimeoutError):
                async with asyncio.timeout(_REPORT_TIMEOUT):
                    await asyncio.gather(*(each.fail("The agent was stopped.") for each in failed))

    async def close(self) -> None:
        """Cancel all tasks without a report, and wait until they have stopped."""
        for assignment in [*self._assignments.values()]:
            self._cancel(assignment)
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)

    def _find(self, about: Message) -> Assignment | None:
        assignment = self._assignments.get(about["task"])
        if assignment is None or assignment.task.attempt != about["attempt"]:
            return None
        return assignment

    def _start(self, assigned: Message) -> None:
        former = self._assignments.get(assigned["task"])
        if former is not None:
            if former.task.attempt >= assigned["attempt"]:
                return  # sent again after a connection was lost
            self._cancel(former)
        skill = self._skills.get(assigned["skill"])
        assignment = Assignment(self._registration, assigned, skill)
        self._assignments[assignment.task.id] = assignment
        self._jobs.add(assignment.job)
        assignment.job.add_done_callback(self._jobs.discard)
        assignment.job.add_done_callback(lambda _: self._forget(assignment))

    def _forget(self, assignment: Assignment) -> None:
        if self._assignments.get(assignment.task.id) is assignment:
            del self._assignments[assignment.task.id]

    def _cancel(self, assignment: Assignment) -> None:
        self._forget(assignment)
        assignment.cancel()
