"""A batcher joins what is wanted of one slot into few calls, in order, and isolates failures."""

import asyncio
from collections.abc import Sequence

import pytest

from jackfield.redis import batching
from jackfield.redis.batching import Batcher
from jackfield.wire.errors import Error
from tests.support.waiting import wait_until

#: Bytes that one call carries.
CALL_BYTES = 1_048_576


class Calls:
    """What a batcher has called, and what comes of it: each item's double, when it is let go."""

    def __init__(self, *, held: bool = False, size: int = 1) -> None:
        self.made: list[list[int]] = []
        self.failing: set[int] = set()
        self.gate = asyncio.Event()
        if not held:
            self.gate.set()
        self.batcher = Batcher[int, int](self._call, lambda _: size)

    async def _call(self, items: Sequence[int]) -> list[int]:
        self.made.append(list(items))
        await self.gate.wait()
        if self.failing & set(items):
            raise Error("unavailable")
        return [2 * item for item in items]


async def test_what_is_wanted_in_one_turn_goes_in_one_call_in_order() -> None:
    calls = Calls()
    results = await asyncio.gather(*(calls.batcher.add("a", item) for item in range(100)))
    assert results == [2 * item for item in range(100)]
    assert calls.made == [list(range(100))]


async def test_each_slot_has_calls_of_its_own_that_do_not_wait_for_one_another() -> None:
    calls = Calls(held=True)
    futures = [calls.batcher.add(slot, item) for item, slot in enumerate("abab")]
    await wait_until(lambda: len(calls.made) == 2)
    assert calls.made == [[0, 2], [1, 3]]
    calls.gate.set()
    assert await asyncio.gather(*futures) == [0, 2, 4, 6]


async def test_what_is_wanted_meanwhile_waits_for_the_next_call() -> None:
    calls = Calls(held=True)
    first = calls.batcher.add("a", 0)
    await wait_until(lambda: calls.made)
    others = [calls.batcher.add("a", item) for item in (1, 2, 3)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert calls.made == [[0]]
    calls.gate.set()
    assert await asyncio.gather(first, *others) == [0, 2, 4, 6]
    assert calls.made == [[0], [1, 2, 3]]


async def test_what_one_task_after_the_other_wants_is_joined_as_well() -> None:
    calls = Calls()

    async def want(item: int) -> int:
        for _ in range(item):  # one turn later than the one before it
            await asyncio.sleep(0)
        return await calls.batcher.add("a", item)

    assert await asyncio.gather(*(want(item) for item in range(20))) == list(range(0, 40, 2))
    assert [item for made in calls.made for item in made] == list(range(20))
    assert len(calls.made) < 10


async def test_what_is_wanted_every_other_turn_is_joined_as_well() -> None:
    calls = Calls()
    futures: list[asyncio.Future[int]] = []
    for item in range(10):
        futures.append(calls.batcher.add("a", item))
        for _ in range(2):
            await asyncio.sleep(0)
    assert list(await asyncio.gather(*futures)) == list(range(0, 20, 2))
    assert calls.made == [list(range(10))]


async def test_a_call_that_fails_fails_its_items_and_no_others() -> None:
    calls = Calls(held=True)
    calls.failing = {2}
    lone = calls.batcher.add("a", 0)
    await wait_until(lambda: calls.made)
    together = [calls.batcher.add("a", item) for item in (1, 2)]
    beside = calls.batcher.add("b", 3)
    calls.gate.set()
    results = await asyncio.gather(lone, *together, beside, return_exceptions=True)
    assert results[0] == 0
    assert results[3] == 6
    assert all(isinstance(each, Error) for each in results[1:3])
    assert await calls.batcher.add("a", 4) == 8


async def test_nobody_has_to_look_at_what_failed() -> None:
    calls = Calls()
    calls.failing = {1}
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    calls.batcher.add("a", 1)
    await calls.batcher.drained()
    assert faults == []


async def test_what_is_cancelled_before_its_call_is_left_out() -> None:
    calls = Calls(held=True)
    first = calls.batcher.add("a", 0)
    await wait_until(lambda: calls.made)
    futures = [calls.batcher.add("a", item) for item in (1, 2, 3)]
    futures[1].cancel()
    calls.gate.set()
    assert list(await asyncio.gather(first, futures[0], futures[2])) == [0, 2, 6]
    assert calls.made == [[0], [1, 3]]


async def test_what_is_cancelled_during_its_call_disturbs_no_other() -> None:
    calls = Calls(held=True)
    futures = [calls.batcher.add("a", item) for item in (1, 2, 3)]
    await wait_until(lambda: calls.made)
    futures[1].cancel()
    calls.gate.set()
    assert list(await asyncio.gather(futures[0], futures[2])) == [2, 6]
    await calls.batcher.drained()
    assert calls.made == [[1, 2, 3]]


async def test_where_all_are_cancelled_nothing_is_called() -> None:
    calls = Calls()
    for item in range(3):
        calls.batcher.add("a", item).cancel()
    await calls.batcher.drained()
    assert calls.made == []


async def test_one_call_carries_a_bounded_number_of_items_and_bytes() -> None:
    many = Calls()
    await asyncio.gather(*(many.batcher.add("a", item) for item in range(1000)))
    assert [len(made) for made in many.made] == [256, 256, 256, 232]
    large = Calls(size=CALL_BYTES // 4)
    await asyncio.gather(*(large.batcher.add("a", item) for item in range(10)))
    assert [len(made) for made in large.made] == [4, 4, 2]
    huge = Calls(size=2 * CALL_BYTES)
    await asyncio.gather(*(huge.batcher.add("a", item) for item in range(3)))
    assert [len(made) for made in huge.made] == [1, 1, 1]
    for calls in (many, large, huge):
        made = [item for items in calls.made for item in items]
        assert made == list(range(len(made)))


async def test_too_much_that_waits_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_MAX_WAITING", 3)
    calls = Calls(held=True)
    first = calls.batcher.add("a", 0)
    await wait_until(lambda: calls.made)
    waiting = [calls.batcher.add("a", item) for item in (1, 2, 3)]
    with pytest.raises(Error, match="unavailable") as caught:
        calls.batcher.add("a", 4)
    assert caught.value.extra["retry_after"] > 0
    beside = calls.batcher.add("b", 5)
    calls.gate.set()
    assert await asyncio.gather(first, *waiting, beside) == [0, 2, 4, 6, 10]
    assert await calls.batcher.add("a", 6) == 12


async def test_drained_waits_for_all_that_is_wanted() -> None:
    calls = Calls(held=True)
    futures = [calls.batcher.add(slot, 1) for slot in "ab"]
    await wait_until(lambda: len(calls.made) == 2)
    late = calls.batcher.add("a", 2)
    draining = asyncio.create_task(calls.batcher.drained())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not draining.done()
    calls.gate.set()
    await draining
    assert all(future.done() for future in (*futures, late))


async def test_close_cancels_whoever_waits() -> None:
    calls = Calls(held=True)
    under_way = calls.batcher.add("a", 0)
    await wait_until(lambda: calls.made)
    waiting = calls.batcher.add("a", 1)
    await calls.batcher.close()
    assert under_way.cancelled()
    assert waiting.cancelled()
    assert calls.made == [[0]]
