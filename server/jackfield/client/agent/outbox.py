"""What a task of an agent has to say on its way: chunks, and questions to a person."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from jackfield.client.errors import RequestError
from jackfield.client.socket import Message, encode
from jackfield.wire.agent_limits import MAX_CHUNKS
from jackfield.wire.errors import ERROR_CODES, Error

from .line import Line

#: Bytes of the chunks of one update, three quarters of what a message may have at the most.
MAX_BYTES: Final = 49_152


class TaskGone(Exception):  # noqa: N818 - it names what happened
    """The task is not this agent's any more: it has ended, or another instance has it."""


class Outbox:
    """The chunks of one task, sent in order, with one update under way at a time.

    What is put meanwhile goes into the next update, and who puts more than fits into that one
    waits. The server answers an update when the caller keeps up, so a slow caller slows the skill.

    Args:
        line: The way to the server.
        task: The task's id.
        attempt: Which attempt this is.
        skip: How many chunks an earlier attempt has delivered; they are not sent again.
    """

    def __init__(self, line: Line, task: str, attempt: int, skip: int) -> None:
        self._count = 0
        self._line = line
        self._named: Message = {"task": task, "attempt": attempt}
        self._skip = skip
        self._sent = skip
        self._chunks: list[msgspec.Raw] = []
        self._bytes = 0
        self._limit = MAX_BYTES
        self._question: Message | None = None
        self._room = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def max_bytes(self) -> int:
        """Bytes of the largest chunk, or output, that the server takes."""
        return min(MAX_BYTES, self._line.message_bytes * 3 // 4)

    @property
    def _batch_bytes(self) -> int:
        return min(self.max_bytes, self._limit)

    async def put(self, chunk: Mapping[str, Any]) -> None:
        """Send a chunk, and wait while there is no room for it.

        Raises:
            TypeError: It is no mapping, or nothing that can be written as JSON.
            ValueError: It is too large.
            TaskGone: The task is not this agent's any more.
            Error: The server refused.
        """
        if not isinstance(chunk, Mapping):
            raise TypeError(f"A chunk is a mapping, and not {type(chunk).__name__}.")
        encoded = msgspec.Raw(encode(chunk))
        size = len(encoded) + 1  # with its comma
        if size > self.max_bytes:
            raise ValueError(f"A chunk of {size} bytes is too large: {self.max_bytes} at the most.")
        while self._is_full(size):
            self._room.clear()
            self._send_soon()
            await self._room.wait()
        self._count += 1
        if self._count > self._skip:
            self._chunks.append(encoded)
            self._bytes += size
            self._send_soon()

    def ask(self, question: Message) -> None:
        """Send a question, behind all chunks; `drain` waits until the server has it."""
        self._question = question
        self._send_soon()

    async def drain(self) -> None:
        """Wait until the server has all that was put.

        Raises:
            TaskGone: The task is not this agent's any more.
            Error: The server refused.
        """
        while self._chunks or self._question or self._is_sending:
            await asyncio.wait({self._send_soon()})
        self._check()

    def shut(self) -> None:
        """Send nothing more; whoever goes on putting is cancelled."""
        self._closed = True
        self._room.set()
        if self._sending is not None:
            self._sending.cancel()

    async def close(self) -> None:
        """Shut it, and wait for what was under way."""
        self.shut()
        if self._sending is not None:
            await asyncio.gather(self._sending, return_exceptions=True)

    def _is_full(self, size: int) -> bool:
        return len(self._chunks) >= MAX_CHUNKS or (
            bool(self._chunks) and self._bytes + size > self._batch_bytes
        )

    @property
    def _is_sending(self) -> bool:
        return self._sending is not None and not self._sending.done()

    def _send_soon(self) -> asyncio.Task[None]:
        """The task that sends what there is."""
        self._check()
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        return self._sending

    def _check(self) -> None:
        """Raise why no more can be sent, if so."""
        if self._closed:
            raise asyncio.CancelledError
        if self._sending is not None and self._sending.done():
            self._sending.result()

    async def _send(self) -> None:
        try:
            while self._chunks or self._question:
                await self._send_next()
        finally:
            self._room.set()

    async def _send_next(self) -> None:
        if self._chunks:
            chunks, self._chunks, self._bytes = self._chunks, [], 0
            first, self._sent = self._sent, self._sent + len(chunks)
            self._room.set()
            await self._deliver(first, chunks)
        elif self._question:
            question, self._question = self._question, None
            await self._update(question)

    async def _deliver(self, first: int, chunks: list[msgspec.Raw]) -> None:
        """Send chunks at once, or in parts where the server takes only smaller events."""
        try:
            await self._update({"seq": first, "chunks": chunks})
        except Error as error:
            half = len(chunks) // 2
            if error.code != "too_large" or not half:
                raise
            self._limit = sum(map(len, chunks[:half])) + half
            await self._deliver(first, chunks[:half])
            await self._deliver(first + half, chunks[half:])

    async def _update(self, news: Message) -> None:
        try:
            await self._line.request("agent.update", {**self._named, **news})
        except RequestError as error:
            state = news.get("state")
            if state and error.code == "conflict" and error.extra.get("state") == state:
                return  # it was asked already, over a connection that was lost before the answer
            raise refusal(error) from error


class Question:
    """What is asked of a person on a task's way, one thing at a time."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._asking = asyncio.Lock()
        self._answer: asyncio.Future[Message] | None = None
        # The number of the last answer: after a lost line it may come again.
        self._answered = 0

    async def ask(self, state: str, prompt: Message) -> Message:
        """Ask, and wait for the answer; raises what `Outbox.drain` does."""
        question: Message = {"state": state, "prompt": prompt}
        async with self._asking:
            self._answer = asyncio.get_running_loop().create_future()
            try:
                self._outbox.ask(question)
                await self._outbox.drain()
                return await self._answer
            finally:
                self._answer = None

    def answer(self, number: int | None, given: Message) -> None:
        """Take what a person has answered; one that came before is dropped."""
        if number is not None:
            if number <= self._answered:
                return
            self._answered = number
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(given)


def refusal(error: RequestError) -> Exception:
    """What it means for a task that the server does not take something of it."""
    if error.code in ("not_found", "conflict"):
        return TaskGone(error.message)
    code = error.code if error.code in ERROR_CODES or "." in error.code else "internal"
    return Error(code, error.message)
