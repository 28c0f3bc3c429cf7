"""The updates of a task that an agent sends on the way: chunks of its stream, and questions."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from jackfield.client.errors import JackfieldError, RequestError
from jackfield.client.message import Message, encode
from jackfield.wire.agent_limits import MAX_CHUNKS
from jackfield.wire.errors import ERROR_CODES, Error

from .registration import Registration

#: Bytes of the chunks of one update: three quarters of the longest message that a server accepts by
#: default, so that the rest of the message has room.
MAX_BYTES: Final = 49_152


class TaskGone(JackfieldError):  # noqa: N818 - it names what happened
    """The task is not this agent's any more: it has ended, or another instance has it."""


class Updates:
    """Sends the chunks and questions of one task in order, one update at a time.

    Chunks that are added while an update is under way go into the next one, and adding waits while
    that is full. The server answers an update once the caller keeps up, so a slow caller slows the
    skill.

    Args:
        registration: What sends the requests.
        task: The task's id.
        attempt: The number of the attempt.
        skip: How many chunks an earlier attempt has delivered; they are not sent again.
    """

    def __init__(self, registration: Registration, task: str, attempt: int, skip: int) -> None:
        self._count = 0
        self._registration = registration
        self._attempt: Message = {"task": task, "attempt": attempt}
        self._skip = skip
        self._sent = skip
        self._chunks: list[msgspec.Raw] = []
        self._bytes = 0
        self._limit = MAX_BYTES
        self._question: Message | None = None
        self._room = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def max_bytes(self) -> int:
        """Bytes of the largest chunk, or output, that the server accepts."""
        return min(MAX_BYTES, self._registration.message_bytes * 3 // 4)

    @property
    def _batch_bytes(self) -> int:
        return min(self.max_bytes, self._limit)

    async def add_chunk(self, chunk: Mapping[str, Any]) -> None:
        """Send a chunk, and wait while there is no room for it.

        Raises:
            TypeError: It is not a mapping, or cannot be written as JSON.
            ValueError: It is too large.
            TaskGone: The task is not this agent's any more.
            Error: The server refused an update.
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

    def add_question(self, question: Message) -> None:
        """Send a question after all chunks; `drain` waits until the server has it."""
        self._question = question
        self._send_soon()

    async def drain(self) -> None:
        """Wait until the server has received all that was added.

        Raises:
            TaskGone: The task is not this agent's any more.
            Error: The server refused an update.
        """
        while self._chunks or self._question or self._is_sending:
            await asyncio.wait({self._send_soon()})
        self._check()

    def stop(self) -> None:
        """Send nothing more; whoever adds something from now on is cancelled."""
        self._stopped = True
        self._room.set()
        if self._sending is not None:
            self._sending.cancel()

    async def close(self) -> None:
        """Stop, and wait for the end of the update that was under way."""
        self.stop()
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
        """Return the asyncio task that sends what was added; start it if there is none."""
        self._check()
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        return self._sending

    def _check(self) -> None:
        """Raise the reason why no more can be sent, if there is one."""
        if self._stopped:
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
            await self._send_chunks(first, chunks)
        elif self._question:
            question, self._question = self._question, None
            await self._send_update(question)

    async def _send_chunks(self, first: int, chunks: list[msgspec.Raw]) -> None:
        """Send chunks as one update, or in halves if the server accepts only smaller events."""
        try:
            await self._send_update({"seq": first, "chunks": chunks})
        except Error as error:
            half = len(chunks) // 2
            if error.code != "too_large" or not half:
                raise
            self._limit = sum(map(len, chunks[:half])) + half
            await self._send_chunks(first, chunks[:half])
            await self._send_chunks(first + half, chunks[half:])

    async def _send_update(self, update: Message) -> None:
        try:
            await self._registration.request("agent.update", {**self._attempt, **update})
        except RequestError as error:
            state = update.get("state")
            if state and error.code == "conflict" and error.extra.get("state") == state:
                return  # the question had arrived, and only the reply was lost
            raise task_error(error) from error


def task_error(error: RequestError) -> Exception:
    """Return what it means for a task that the server has refused a request about it."""
    if error.code in ("not_found", "conflict"):
        return TaskGone(error.message)
    code = error.code if error.code in ERROR_CODES or "." in error.code else "internal"
    return Error(code, error.message)
