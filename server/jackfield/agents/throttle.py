"""Pause and resume agents for callers that can't keep up, one call to Redis at a time."""

from collections.abc import Callable, Coroutine
from typing import Any

from jackfield.store.agents import AgentStore


class AgentThrottle:
    """What the agents of one node's callers are told.

    Two calls for one task at once could change places on their way, and the agent would pause for
    ever: so what is wanted while one is under way is told after it.

    Args:
        store: The agents in Redis.
        node: The id of this node.
        run_soon: Runs what may fail if Redis is away, for a task.
    """

    def __init__(
        self,
        store: AgentStore,
        node: str,
        run_soon: Callable[[Coroutine[Any, Any, None], str], None],
    ) -> None:
        self._store = store
        self._node = node
        self._run_soon = run_soon
        #: Whether its agent is to pause, by the task, while Redis is being told so.
        self._wanted: dict[str, bool] = {}

    def throttle(self, task: str, *, pause: bool) -> None:
        """Have the agent of a task pause, or resume."""
        is_told = task in self._wanted
        self._wanted[task] = pause
        if not is_told:
            self._run_soon(self._tell(task), task)

    async def _tell(self, task: str) -> None:
        told: bool | None = None
        try:
            while (pause := self._wanted[task]) is not told:
                await self._store.hold(task, node=self._node, wait=pause)
                told = pause
        finally:
            del self._wanted[task]
