"""A gap is refilled from the history before anything newer, and what is lost is told once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from jackfield.topics import gap_refill as module
from jackfield.topics.feed import Feed, Members
from jackfield.topics.gap_refill import GapRefill
from jackfield.wire.errors import Error
from jackfield.wire.position import Position
from tests.support.audiences import FAMILY, AskedRedis, Subscriber, batch, read, topic_of, turns
from tests.support.waiting import wait_until


class Presence:
    """A presence whose list can be counted."""

    def __init__(self) -> None:
        self.feed = Feed(Members())
        self.refills = 0

    async def refill(self) -> None:
        self.refills += 1
        self.feed.resume(self.feed.buffered)


class Gap:
    """A feed with one member, and what refills it.

    Args:
        presence: The topic's presence, if it has one.
        semaphore: Bounds how many are refilled at once.
    """

    def __init__(
        self, presence: Presence | None = None, semaphore: asyncio.Semaphore | None = None
    ) -> None:
        self.member = Subscriber()
        self.members = Members()
        self.members.add(self.member.connection)
        self.feed = Feed(self.members)
        self.redis = AskedRedis()
        topic = topic_of(FAMILY)
        store: Any = self.redis
        its_presence: Any = presence
        self.refill = GapRefill(
            topic.name,
            topic.stored,
            store=store,
            events=self.feed,
            presence=its_presence,
            members=self.members,
            semaphore=semaphore or asyncio.Semaphore(),
        )
        self.feed.skip_to("e", 5)
        self.feed.resume(0)

    async def ended(self) -> None:
        await self.refill.wait()
        assert not self.refill.is_running
        assert not self.refill.is_suspected


@pytest.fixture
async def gap() -> AsyncIterator[Gap]:
    gap = Gap()
    yield gap
    for task in gap.refill.cancel():
        await asyncio.wait([task])


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY_PAUSE", 0)


async def test_nothing_is_suspected_at_first(gap: Gap) -> None:
    assert not gap.refill.is_suspected
    assert not gap.refill.is_running
    assert gap.refill.count == 0
    await gap.refill.wait()
    assert gap.refill.cancel() == []


async def test_what_was_missed_is_sent_before_what_came_meanwhile(gap: Gap) -> None:
    gap.refill.start()
    assert gap.feed.is_paused
    gap.feed.receive("e", batch(8, 8))
    assert gap.refill.is_running
    assert await gap.redis.answer(read(7, 5)) == Position("e", 5)
    await gap.ended()
    assert gap.member.got == [6, 7, 8]
    assert gap.refill.count == 1


async def test_nothing_missed_is_nothing_counted(gap: Gap) -> None:
    gap.refill.start()
    await gap.redis.answer(read(5))
    await gap.ended()
    assert gap.member.got == []
    assert gap.refill.count == 0
    assert not gap.feed.is_paused


async def test_a_start_while_it_is_running_has_the_history_read_once_more(gap: Gap) -> None:
    gap.refill.start()
    await wait_until(lambda: gap.redis.reads)
    gap.refill.start()
    await gap.redis.answer(read(6, 5))
    assert gap.refill.is_running
    assert await gap.redis.answer(read(7, 6)) == Position("e", 6)
    await gap.ended()
    assert gap.member.got == [6, 7]
    assert gap.redis.reads == []


async def test_the_same_task_serves_all_who_start_it(gap: Gap) -> None:
    gap.refill.start()
    (task,) = gap.refill.cancel()
    gap.refill.start()
    assert gap.refill.cancel() == [task]
    await asyncio.wait([task])
    assert gap.refill.cancel() == []
    assert not gap.refill.is_running
    gap.refill.start()  # and one that has ended can be started again
    (again,) = gap.refill.cancel()
    assert again is not task
    await asyncio.wait([again])


async def test_whoever_waits_may_be_cancelled_and_the_refill_goes_on(gap: Gap) -> None:
    gap.refill.start()
    waiting = asyncio.create_task(gap.refill.wait())
    await wait_until(lambda: gap.redis.reads)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert gap.refill.is_running
    await gap.redis.answer(read(6, 5))
    await gap.ended()
    assert gap.member.got == [6]


async def test_a_suspicion_pauses_all_and_starts_nothing() -> None:
    gap = Gap(presence := Presence())
    presence.feed.resume(0)
    gap.refill.suspect()
    assert gap.refill.is_suspected
    assert gap.feed.is_paused
    assert presence.feed.is_paused
    await turns()
    assert gap.redis.reads == []
    gap.refill.forget()
    assert not gap.refill.is_suspected


async def test_presence_is_refilled_only_where_it_has_a_gap() -> None:
    gap = Gap(presence := Presence())
    gap.refill.start()
    await gap.redis.answer(read(5))
    await gap.ended()
    assert presence.refills == 1
    gap.refill.start()
    await gap.redis.answer(read(5))
    await gap.ended()
    assert presence.refills == 1


async def test_a_long_gap_is_refilled_page_by_page(gap: Gap) -> None:
    gap.refill.start()
    await gap.redis.answer(read(9, 5, upto=7))
    assert gap.feed.is_paused
    assert await gap.redis.answer(read(9, 7)) == Position("e", 7)
    await gap.ended()
    assert gap.member.got == [6, 7, 8, 9]
    assert gap.refill.count == 2


async def test_what_comes_behind_another_gap_has_the_history_read_again(gap: Gap) -> None:
    gap.refill.start()
    await wait_until(lambda: gap.redis.reads)
    gap.feed.receive("e", batch(9, 9))
    await gap.redis.answer(read(6, 5))
    await gap.redis.answer(read(9, 6))
    await gap.ended()
    assert gap.member.got == [6, 7, 8, 9]


async def test_what_came_of_an_earlier_epoch_is_dropped_and_of_a_later_one_is_a_gap(
    gap: Gap,
) -> None:
    gap.refill.start()
    gap.feed.receive("before", batch(1, 1))  # before the history is read
    await wait_until(lambda: gap.redis.reads)
    gap.feed.receive("later", batch(7, 7))  # and after
    await gap.redis.answer(read(6, 5))
    read_again = read(7, 6, epoch="later", recovered=False)
    assert await gap.redis.answer(read_again) == Position("e", 6)
    await gap.ended()
    assert gap.member.got == [6, ("later", 6), 7]


async def test_redis_that_is_away_is_asked_again(gap: Gap) -> None:
    gap.refill.start()
    for _ in range(3):
        await gap.redis.answer(Error("unavailable"))
        assert gap.refill.is_running
    await gap.redis.answer(read(6, 5))
    await gap.ended()
    assert gap.member.got == [6]


async def test_attempts_are_spread_around_the_pause(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return 0.0

    monkeypatch.setattr(module, "_RETRY_PAUSE", 3600)
    monkeypatch.setattr("jackfield.topics.gap_refill.random.uniform", draw)
    gap.refill.start()
    await gap.redis.answer(Error("unavailable"))
    await gap.redis.answer(read(5))
    await gap.ended()
    assert drawn == [(0.5, 1.5)]


async def test_a_loss_is_told_with_where_the_members_are_now_and_what_is_left_follows(
    gap: Gap, logged: Callable[[], str]
) -> None:
    gap.refill.start()
    await gap.redis.answer(read(10, 8, recovered=False))
    await gap.ended()
    error, *events = gap.member.sent()
    assert error["id"] is None
    told = {name: error["error"][name] for name in ("code", "topic", "epoch", "offset")}
    assert told == {"code": "unrecoverable", "topic": "a", "epoch": "e", "offset": 8}
    assert [each["offset"] for each in events] == [9, 10]
    assert gap.refill.count == 2
    assert '"members of a topic have missed events"' in logged()


@pytest.mark.parametrize(("known", "is_told"), [(7, True), (8, True), (9, False)])
async def test_a_loss_is_not_told_to_who_knows_what_was_lost(
    gap: Gap, known: int, *, is_told: bool
) -> None:
    late = Subscriber()
    gap.feed.begin_join()
    gap.members.add(late.connection)
    gap.feed.admit(late.connection, known)
    gap.feed.end_join()
    gap.refill.start()
    await gap.redis.answer(read(9, 8, recovered=False))
    await gap.ended()
    assert gap.member.got == [("e", 8), 9]
    assert late.got == ([("e", 8), 9] if is_told else [])


async def test_no_more_gaps_are_refilled_at_once_than_may_be() -> None:
    semaphore = asyncio.Semaphore(1)
    first, second = Gap(semaphore=semaphore), Gap(semaphore=semaphore)
    first.refill.start()
    second.refill.start()
    await turns()
    assert (len(first.redis.reads), len(second.redis.reads)) == (1, 0)
    await first.redis.answer(read(6, 5))
    await second.redis.answer(read(7, 5))
    await first.ended()
    await second.ended()
    assert second.member.got == [6, 7]
