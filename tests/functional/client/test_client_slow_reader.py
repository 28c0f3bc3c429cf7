"""A reader of a topic that is too slow costs nobody anything, and misses only what is not kept."""

from jackfield.client import Client, Event, Gap, Presence, RequestError
from tests.support.peer import Room
from tests.support.reading import read_all

#: A few of these are more than the client of these tests lets wait.
LONG = {"text": "x" * 200}


async def test_a_slow_reader_misses_nothing_that_the_server_keeps(
    client: Client, room: Room
) -> None:
    async with client.subscribe("room:lobby") as subscription:
        for n in range(1, 41):
            await room.publish({"n": n, **LONG})
        await client.request("session.ping")  # so they have come, and most did not fit
        read = [await anext(subscription) for _ in range(40)]
        await room.publish({"n": 41})
        assert await anext(subscription) == Event(41, {"n": 41}, "e1")
    assert [item.offset for item in read if isinstance(item, Event)] == list(range(1, 41))
    _, again, *_ = room.subscriptions
    assert 0 < again["since"]["offset"] < 40


async def test_a_slow_reader_is_told_what_the_server_does_not_keep(
    client: Client, room: Room
) -> None:
    room.history = 5
    async with client.subscribe("room:lobby") as subscription:
        for n in range(1, 41):
            await room.publish({"n": n, **LONG})
        await client.request("session.ping")
        before: list[int] = []
        while not isinstance(item := await anext(subscription), Gap):
            assert isinstance(item, Event)
            before.append(item.offset)
        assert before == list(range(1, len(before) + 1))
        assert item == Gap("e1", 40)
        await room.publish({"n": 41})
        assert await anext(subscription) == Event(41, {"n": 41}, "e1")


async def test_a_slow_reader_learns_anew_who_is_there(client: Client, room: Room) -> None:
    async with client.subscribe("room:lobby") as subscription:
        for _ in range(40):
            await room.tell("presence", topic="room:lobby", joined={"user": "bob", "info": LONG})
        await client.request("session.ping")
        items: list[object] = []
        while not items or items[-1] == Presence(joined={"user": "bob", "info": LONG}):
            items.append(await anext(subscription))
    assert len(items) < 40
    assert items[-1] == Presence(members=[{"user": "alice", "connections": 1, "info": {}}], count=1)


async def test_a_failed_attempt_to_catch_up_can_be_repeated(client: Client, room: Room) -> None:
    async with client.subscribe("room:lobby") as subscription:
        for n in range(1, 41):
            await room.publish({"n": n, **LONG})
        await client.request("session.ping")
        room.refusal = {"code": "unavailable", "message": "Away.", "retryable": True}
        read, error = await read_all(subscription)
        assert isinstance(error, RequestError)
        room.refusal = None
        read += [await anext(subscription) for _ in range(40 - len(read))]
    assert [item.offset for item in read if isinstance(item, Event)] == list(range(1, 41))
