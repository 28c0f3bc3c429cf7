"""Calls that are joined: whatever is wanted of one slot in one tick goes to Redis in one call.

Of each slot one call is under way at a time, and what is wanted meanwhile waits for the next. So
the order in which things are wanted is the order in which Redis does them, and the busier a node
is, the more each call carries.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar

from jackfield.wire.errors import Error

Item = TypeVar("Item")
Result = TypeVar("Result")

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


class Lanes(Generic[Item, Result]):
    """Joins items into calls.

    Args:
        call: Makes one call of several items of one slot, and returns a result for each.
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
        self._lanes: dict[Hashable, list[tuple[Item, asyncio.Future[Result]]]] = {}
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
        lane = self._lanes.get(slot)
        if lane is None:
            lane = self._lanes[slot] = []
            task = self._loop.create_task(self._serve(slot, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif len(lane) >= _MAX_WAITING:
            raise Error("unavailable", "Too much is waiting for Redis.", retry_after=_RETRY_AFTER)
        future: asyncio.Future[Result] = self._loop.create_future()
        lane.append((item, future))
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

    async def _serve(
        self, slot: Hashable, lane: "list[tuple[Item, asyncio.Future[Result]]]"
    ) -> None:
        taken: list[tuple[Item, asyncio.Future[Result]]] = []
        try:
            while lane:
                await _gathered(lane)
                count = self._next(lane)
                taken = [each for each in lane[:count] if not each[1].cancelled()]
                del lane[:count]
                if taken:
                    await self._make(taken)
        finally:
            del self._lanes[slot]
            for _, future in (*taken, *lane):
                future.cancel()  # no effect on those that have a result

    def _next(self, lane: "list[tuple[Item, asyncio.Future[Result]]]") -> int:
        """How many items the next call takes."""
        room = _MAX_BYTES
        for count, (item, _) in enumerate(lane[:_MAX_ITEMS], start=1):
            room -= self._size(item)
            if room <= 0:
                return count
        return min(len(lane), _MAX_ITEMS)

    async def _make(self, taken: "list[tuple[Item, asyncio.Future[Result]]]") -> None:
        try:
            results = await self._call([item for item, _ in taken])
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is for those who wait
            for _, future in taken:
                if not future.done():
                    future.set_exception(exc)
                    future.exception()  # nobody has to look at it
        else:
            for (_, future), result in zip(taken, results, strict=True):
                if not future.done():
                    future.set_result(result)


async def _gathered(lane: Sequence[object]) -> None:
    """Wait while the turns of the loop bring more."""
    quiet = 0
    for _ in range(_MAX_TURNS):
        before = len(lane)
        await asyncio.sleep(0)
        quiet = 0 if len(lane) > before else quiet + 1
        if quiet == _QUIET_TURNS:
            return
