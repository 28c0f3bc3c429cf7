"""Batching: what is wanted of one slot in one tick goes to Redis in one call.

For each slot one call is under way at a time, and what is added meanwhile waits in the slot's queue
for the next. So Redis does things in the order in which they were added, and the busier a node is,
the more each call carries.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar

from jackfield.wire.errors import Error

Item = TypeVar("Item")
Result = TypeVar("Result")
#: Items that wait for their call, each with the future of its result.
_Queue = list[tuple[Item, "asyncio.Future[Result]"]]

#: Items of one call. Redis does one in 5 us, and nothing else meanwhile.
_MAX_ITEMS: Final = 256
#: Bytes of one call, but for its last item: what a Redis takes in without keeping others waiting.
_MAX_BYTES: Final = 1_048_576
#: Turns of the loop that a call waits for more, while they bring some: what a client sends without
#: waiting begins one message a turn, and as many as these may be in flight by default.
_MAX_TURNS: Final = 64
#: Turns that bring nothing, one after the other, after which nothing more is waited for: what one
#: turn reads from the sockets is often wanted only in the next. With one alone, clients that all
#: connect at once take three times as many calls.
_QUIET_TURNS: Final = 2
#: Items that may wait for one slot: seconds of what a Redis can do. More is a Redis that can't.
_MAX_WAITING: Final = 50_000
#: Seconds that a client is told to wait then.
_RETRY_AFTER: Final = 1.0


class Batcher(Generic[Item, Result]):
    """Joins items into batches, and makes one call of each.

    Args:
        call: Makes one call of a batch, all of one slot, and returns a result for each item.
        size: The bytes of an item.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        size: Callable[[Item], int],
    ) -> None:
        self._call = call
        self._size = size
        # Kept, as asking asyncio for it costs a system call for each item.
        self._loop = asyncio.get_running_loop()
        self._queues: dict[Hashable, _Queue[Item, Result]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, slot: Hashable, item: Item) -> "asyncio.Future[Result]":
        """Have an item be part of the slot's next call.

        Args:
            slot: The slot of all its keys, or anything narrower that is to be joined.
            item: The item. If its future is cancelled before the call, it is left out.

        Returns:
            Its result, or what the call raised.

        Raises:
            Error: ``unavailable``: too much is waiting already.
        """
        queue = self._queues.get(slot)
        if queue is None:
            queue = self._queues[slot] = []
            task = self._loop.create_task(self._serve(slot, queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif len(queue) >= _MAX_WAITING:
            raise Error("unavailable", "Too much is waiting for Redis.", retry_after=_RETRY_AFTER)
        future: asyncio.Future[Result] = self._loop.create_future()
        queue.append((item, future))
        return future

    async def drained(self) -> None:
        """Wait until nothing is waiting or under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Give up what is waiting or under way; who waits for it is cancelled."""
        for task in self._tasks:
            task.cancel()
        await self.drained()

    async def _serve(self, slot: Hashable, queue: "_Queue[Item, Result]") -> None:
        batch: _Queue[Item, Result] = []
        try:
            while queue:
                await _batch_gathered(queue)
                count = self._batch_size(queue)
                batch = [each for each in queue[:count] if not each[1].cancelled()]
                del queue[:count]
                if batch:
                    await self._call_batch(batch)
        finally:
            del self._queues[slot]
            for _, future in (*batch, *queue):
                future.cancel()  # no effect on those that have a result

    def _batch_size(self, queue: "_Queue[Item, Result]") -> int:
        """How many items the next call takes."""
        room = _MAX_BYTES
        for count, (item, _) in enumerate(queue[:_MAX_ITEMS], start=1):
            room -= self._size(item)
            if room <= 0:
                return count
        return min(len(queue), _MAX_ITEMS)

    async def _call_batch(self, batch: "_Queue[Item, Result]") -> None:
        try:
            results = await self._call([item for item, _ in batch])
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is for those who wait
            for _, future in batch:
                if not future.done():
                    future.set_exception(exc)
                    future.exception()  # nobody has to look at it
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)


async def _batch_gathered(queue: Sequence[object]) -> None:
    """Wait while the turns of the loop bring more."""
    quiet = 0
    for _ in range(_MAX_TURNS):
        before = len(queue)
        await asyncio.sleep(0)
        quiet = 0 if len(queue) > before else quiet + 1
        if quiet == _QUIET_TURNS:
            return
