"""A join meets the feed where its reply says, whatever happens between the two."""

import asyncio

import pytest

from jackfield import Position
from jackfield.topics.membership import MEMBERSHIP
from jackfield.wire.errors import Error
from tests.support.audiences import ROOM, Stage, Subscriber, published, read
from tests.support.waiting import wait_until


async def test_a_join_says_where_events_begin_and_they_begin_there() -> None:
    stage = Stage()
    await stage.open(5)
    join = await stage.join(late := Subscriber())
    assert (join.topic, join.position) == ("a", Position("e", 5))
    stage.audience.receive(published(6))  # before its reply
    assert late.got == []
    join.activate()
    stage.audience.receive(published(7))
    assert late.got == [6, 7]
    assert late.connection[MEMBERSHIP].joined == [stage.audience]


async def test_what_is_missed_is_read_as_far_as_asked_for() -> None:
    stage = Stage()
    await stage.open(5)
    joining = asyncio.create_task(stage.join(Subscriber(), Position("e", 3)))
    assert await stage.redis.answer(read(5, 3)) == Position("e", 3)
    join = await joining
    assert (join.recovery.after, len(join.recovery.events)) == (3, 2)
    join.abandon()


async def test_a_replay_reads_from_the_beginning() -> None:
    stage = Stage()
    await stage.open(5)
    joining = asyncio.create_task(stage.join(Subscriber(), replay=True))
    assert await stage.redis.answer(read(5, 0)) == Position("", 0)
    (await joining).abandon()


async def test_whoever_joins_again_is_a_member_once() -> None:
    stage = Stage()
    first = await stage.open(5)
    (await stage.join(first)).activate()
    assert len(stage.audience.members) == 1
    assert first.connection[MEMBERSHIP].joined == [stage.audience]
    stage.audience.receive(published(6))
    assert first.got == [6]


async def test_an_abandoned_join_makes_no_member_and_leaves_an_audience_that_may_end() -> None:
    stage = Stage()
    first = await stage.open()
    join = await stage.join(late := Subscriber())
    stage.audience.leave(first.connection)
    assert stage.emptied == 0  # a join is under way
    join.abandon()
    assert stage.emptied == 1
    join.activate()
    join.abandon()
    assert stage.emptied == 1
    assert late.connection not in stage.audience.members


async def test_to_abandon_what_was_activated_changes_nothing() -> None:
    stage = Stage()
    await stage.open()
    join = await stage.join(late := Subscriber())
    join.activate()
    join.abandon()
    join.activate()
    assert late.connection in stage.audience.members
    stage.audience.receive(published(1))
    assert late.got == [1]


async def test_a_connection_that_has_ended_joins_nothing() -> None:
    stage = Stage()
    await stage.open()
    join = await stage.join(late := Subscriber())
    late.connection[MEMBERSHIP].has_left = True
    join.activate()
    assert late.connection not in stage.audience.members
    assert late.connection[MEMBERSHIP].joined == []


async def test_what_is_lost_between_the_position_and_the_reply_is_told() -> None:
    stage = Stage()
    first = await stage.open(5)
    join = await stage.join(late := Subscriber())
    stage.audience.receive(published(10))
    await stage.redis.answer(read(10, 8, recovered=False))
    join.activate()
    stage.audience.receive(published(11))
    assert first.got == [("e", 8), 9, 10, 11]
    assert late.got == [("e", 10), 11]


async def test_another_epoch_since_the_position_was_read_is_told() -> None:
    stage = Stage()
    await stage.open(5)
    join = await stage.join(late := Subscriber())
    stage.audience.receive(published(1, epoch="new"))
    await stage.redis.answer(read(1, 1, epoch="new", recovered=False))
    join.activate()
    assert late.got == [("new", 1)]


async def test_a_member_is_announced_before_its_reply_and_taken_back_if_it_fails() -> None:
    stage = Stage(ROOM)
    await stage.open()
    join = await stage.join(late := Subscriber(connection_id="late"), info={"name": "Late"})
    assert stage.presence.members["c:late"] == (
        1,
        b'{"user":null,"connection":"late","info":{"name":"Late"}}',
    )
    assert join.presence_version == stage.presence.version
    join.abandon()
    assert "c:late" not in stage.presence.members
    assert late.got == []


async def test_whoever_is_a_member_stays_present_when_it_fails_to_join_again() -> None:
    stage = Stage(ROOM)
    first = await stage.open()
    join = await stage.join(first)
    join.abandon()
    assert stage.presence.members["c:c1"][0] == 1


async def test_a_join_is_undone_whatever_part_of_it_fails() -> None:
    stage = Stage(ROOM)
    first = await stage.open(5)
    joining = asyncio.create_task(stage.join(Subscriber(connection_id="late"), Position("e", 1)))
    await stage.redis.answer(Error("unavailable"))
    with pytest.raises(Error, match="unavailable"):
        await joining
    assert list(stage.presence.members) == ["c:c1"]
    stage.presence.is_away = True
    with pytest.raises(Error, match="unavailable"):
        await stage.join(Subscriber(connection_id="late"))
    stage.audience.leave(first.connection)
    assert stage.emptied == 1


async def test_a_cancelled_join_is_undone() -> None:
    stage = Stage()
    joining = asyncio.create_task(stage.join(Subscriber()))
    await wait_until(lambda: stage.redis.subscriptions)
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    assert stage.emptied == 1
