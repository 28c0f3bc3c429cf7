"""An audience between Redis and its members: what is on its way when, and nothing lost of it."""

import asyncio

import pytest

from jackfield import Position
from jackfield.wire.errors import Error
from tests.support.audiences import Stage, Subscriber, published, read, turns
from tests.support.waiting import wait_until


async def test_all_that_join_at_once_open_it_once() -> None:
    stage = Stage()
    fakes = [Subscriber() for _ in range(3)]
    joining = [asyncio.create_task(stage.join(fake)) for fake in fakes]
    await wait_until(lambda: stage.redis.subscriptions)
    await turns()
    (subscription,) = stage.redis.subscriptions
    subscription.set_result(None)
    await turns()
    stage.audience.receive(published(6, 7))  # by the channel, before the position is known
    await stage.redis.answer(read(5))
    joins = await asyncio.gather(*joining)
    for join in joins:
        join.activate()
    stage.audience.receive(published(8))
    for fake, join in zip(fakes, joins, strict=True):
        assert fake.got == list(range(join.recovery.offset + 1, 9))
    assert stage.redis.reads == []


async def test_a_channel_that_was_interrupted_while_it_opened_is_looked_at_again() -> None:
    stage = Stage()
    joining = asyncio.create_task(stage.join(fake := Subscriber()))
    await wait_until(lambda: stage.redis.subscriptions)
    stage.redis.subscriptions.pop().set_result(None)
    await wait_until(lambda: stage.redis.reads)
    stage.audience.suspect()  # the channel was subscribed anew: 6 and 7 were missed
    await stage.redis.answer(read(5))
    await wait_until(lambda: len(stage.redis.reads) == 2)
    answers = {None: read(7), Position("e", 5): read(7, 5)}  # to the one that joins, and to fill
    for since, _ in list(stage.redis.reads):
        await stage.redis.answer(answers[since])
    join = await joining
    join.activate()
    assert stage.audience.position == Position("e", 7)
    stage.audience.receive(published(8))
    assert fake.got == list(range(join.recovery.offset + 1, 9))


async def test_a_check_while_a_gap_is_filled_sends_nothing_twice() -> None:
    stage = Stage()
    fake = await stage.open()
    stage.audience.receive(published(2))
    await wait_until(lambda: stage.redis.reads)
    stage.audience.suspect()
    stage.audience.receive(published(3))
    await stage.audience.check(Position("e", 0))  # was read before any of it
    stage.audience.receive(published(1))  # late
    assert fake.got == []
    await stage.redis.answer(read(3, 0))
    assert fake.got == [1, 2, 3]
    # And once more, since something may have been missed after it had been read.
    assert await stage.redis.answer(read(4, 3)) == ("e", 3)
    assert fake.got == [1, 2, 3, 4]
    assert not stage.audience.events.is_paused


async def test_what_comes_while_it_is_looked_for_is_sent_once() -> None:
    stage = Stage()
    fake = await stage.open()
    stage.audience.gap.start()
    await wait_until(lambda: stage.redis.reads)
    stage.audience.suspect()
    await stage.audience.check(Position("e", 0))
    stage.audience.receive(published(1))
    await stage.redis.answer(read(1, 0))
    assert fake.got == [1]
    stage.audience.receive(published(2))
    await stage.redis.answer(read(2, 1))  # it was looked again, for what `suspect` was told of
    assert fake.got == [1, 2]
    assert not stage.audience.events.is_paused


async def test_a_gap_of_many_pages_is_filled_before_anything_newer() -> None:
    stage = Stage()
    fake = await stage.open()
    stage.audience.receive(published(9))
    assert await stage.redis.answer(read(9, 0, upto=3)) == ("e", 0)
    stage.audience.receive(published(10))
    stage.audience.receive(published(4))  # late, and between two pages
    assert await stage.redis.answer(read(10, 3, upto=7)) == ("e", 3)
    assert await stage.redis.answer(read(10, 7)) == ("e", 7)
    assert fake.got == list(range(1, 11))
    assert not stage.audience.events.is_paused


async def test_nothing_missed_is_nothing_filled() -> None:
    stage = Stage()
    fake = await stage.open(5)
    stage.audience.suspect()
    stage.audience.receive(published(6))
    await stage.audience.check(Position("e", 5))
    assert fake.got == [6]
    stage.audience.catch_up(Position("e", 6), 0)
    await turns()
    assert stage.redis.reads == []
    assert stage.audience.gap.count == 0


async def test_a_gap_that_can_not_be_filled_is_told_and_what_is_kept_follows() -> None:
    stage = Stage()
    fake = await stage.open(5)
    stage.audience.receive(published(10))
    await stage.redis.answer(read(10, 8, recovered=False))
    assert fake.got == [("e", 8), 9, 10]


async def test_a_member_that_knows_more_is_not_told_of_a_gap_before_that() -> None:
    stage = Stage()
    fake = await stage.open(5)
    stage.audience.receive(published(12))
    await wait_until(lambda: stage.redis.reads)
    joining = asyncio.create_task(stage.join(late := Subscriber(), Position("e", 9)))
    await wait_until(lambda: len(stage.redis.reads) == 2)
    stage.redis.reads.reverse()
    await stage.redis.answer(read(12, 9))
    (await joining).activate()
    await stage.redis.answer(read(12, 8, recovered=False))
    stage.audience.receive(published(13))
    assert fake.got == [("e", 8), 9, 10, 11, 12, 13]
    assert late.got == [13]  # 10 to 12 are in its reply


async def test_another_epoch_is_told_before_anybody_joins_in_it() -> None:
    stage = Stage()
    fake = await stage.open(5)
    joining = asyncio.create_task(stage.join(late := Subscriber(), Position("e", 3)))
    await stage.redis.answer(read(1, epoch="new", recovered=False))
    assert await stage.redis.answer(read(1, 0, epoch="new", recovered=False)) == ("e", 5)
    assert fake.got == [("new", 0), 1]
    await stage.redis.answer(read(1, epoch="new", recovered=False))
    join = await joining
    assert (join.recovery.epoch, join.recovery.offset) == ("new", 1)
    join.activate()
    stage.audience.receive(published(2, epoch="new"))
    assert fake.got == [("new", 0), 1, 2]
    assert late.got == [2]


async def test_a_join_that_fails_leaves_an_empty_audience() -> None:
    stage = Stage()
    joining = asyncio.create_task(stage.join(Subscriber()))
    await wait_until(lambda: stage.redis.subscriptions)
    stage.redis.subscriptions.pop().set_exception(Error("unavailable"))
    with pytest.raises(Error, match="unavailable"):
        await joining
    assert stage.emptied == 1
    assert len(stage.audience.members) == 0


async def test_a_join_that_is_cancelled_stops_what_it_alone_has_begun() -> None:
    stage = Stage()
    joining = asyncio.create_task(stage.join(Subscriber()))
    await wait_until(lambda: stage.redis.subscriptions)
    joining.cancel()
    await turns()
    assert joining.cancelled()
    assert stage.emptied == 1
    assert stage.redis.subscriptions[0].cancelled()


async def test_whoever_waits_for_another_that_is_cancelled_opens_it_instead() -> None:
    stage = Stage()
    fakes = [Subscriber() for _ in range(3)]
    first, *others = [asyncio.create_task(stage.join(fake)) for fake in fakes]
    await wait_until(lambda: stage.redis.subscriptions)
    first.cancel()
    await wait_until(lambda: len(stage.redis.subscriptions) == 2)
    await turns()
    cancelled, subscription = stage.redis.subscriptions
    assert cancelled.cancelled()
    subscription.set_result(None)
    await stage.redis.answer(read(5))
    for join, fake in zip(await asyncio.gather(*others), fakes[1:], strict=True):
        join.activate()
        assert join.connection is fake.connection
    stage.audience.receive(published(6))
    assert [fake.got for fake in fakes] == [[], [6], [6]]


async def test_all_that_wait_are_told_that_it_can_not_be_opened() -> None:
    stage = Stage()
    joining = [asyncio.create_task(stage.join(Subscriber())) for _ in range(3)]
    await wait_until(lambda: stage.redis.subscriptions)
    await turns()
    (subscription,) = stage.redis.subscriptions
    subscription.set_exception(Error("unavailable"))
    for outcome in await asyncio.gather(*joining, return_exceptions=True):
        assert isinstance(outcome, Error)
        assert outcome.code == "unavailable"
    assert len(stage.redis.subscriptions) == 1
    assert stage.emptied == 1


async def test_an_audience_that_was_given_up_asks_nothing_any_more() -> None:
    stage = Stage()
    fake = await stage.open(5)
    stage.audience.leave(fake.connection)
    assert stage.emptied == 1
    stage.audience.catch_up(Position("e", 9), 0)
    await stage.audience.check(Position("e", 9))
    await turns()
    assert stage.redis.reads == []
    assert fake.got == []


async def test_one_that_leaves_while_a_gap_is_filled_gets_nothing_of_it() -> None:
    stage = Stage()
    fake = await stage.open()
    (await stage.join(other := Subscriber())).activate()
    stage.audience.receive(published(2))
    await wait_until(lambda: stage.redis.reads)
    stage.audience.leave(fake.connection)
    await stage.redis.answer(read(2, 0))
    assert fake.got == []
    assert other.got == [1, 2]
