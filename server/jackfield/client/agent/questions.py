"""The questions of a task to a person: asked one at a time, each until its answer comes."""

import asyncio

from jackfield.client.message import Message

from .updates import Updates


class Questions:
    """The questions of one task.

    Args:
        updates: What sends them.
    """

    def __init__(self, updates: Updates) -> None:
        self._updates = updates
        self._asking = asyncio.Lock()
        self._answer: asyncio.Future[Message] | None = None
        # The number of the last answer: after a lost connection it may come again.
        self._answered = 0

    async def ask(self, state: str, prompt: Message) -> Message:
        """Ask a question, after those asked before it, and wait for the answer.

        Args:
            state: The state of the task while it waits.
            prompt: The question, as ``agent.update`` carries it.

        Raises:
            TaskGone: The task is not this agent's any more.
            Error: The server refused an update.
        """
        question: Message = {"state": state, "prompt": prompt}
        async with self._asking:
            self._answer = asyncio.get_running_loop().create_future()
            try:
                self._updates.add_question(question)
                await self._updates.drain()
                return await self._answer
            finally:
                self._answer = None

    def answer(self, number: int | None, given: Message) -> None:
        """Take the answer to the question that waits; drop one that came before.

        Args:
            number: The number of the answer in its task, None from a server that does not count.
            given: The answer.
        """
        if number is not None:
            if number <= self._answered:
                return
            self._answered = number
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(given)
