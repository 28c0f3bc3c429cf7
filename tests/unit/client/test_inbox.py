"""What waits for one reader is bounded in bytes, in order, and never silently incomplete."""

import asyncio

import pytest

from jackfield.client.errors import ConnectionClosed, EventsLost
from jackfield.client.inbox import Inbox


@pytest.fixture
def inbox() -> Inbox:
    return Inbox(100, EventsLost)


async def test_messages_are_read_in_order(inbox: Inbox) -> None:
    for n in range(10):
        inbox.put({"n": n}, 10)
    assert [await inbox.get() for _ in range(10)] == [{"n": n} for n in range(10)]


async def test_a_reader_waits_for_the_next_message(inbox: Inbox) -> None:
    reading = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    assert not reading.done()
    inbox.put({"n": 1}, 10)
    assert await reading == {"n": 1}


@pytest.mark.parametrize(("last", "fits"), [(50, True), (51, False)])
async def test_what_waits_is_bounded_in_bytes(inbox: Inbox, last: int, *, fits: bool) -> None:
    inbox.put({"n": 1}, 50)
    inbox.put({"n": 2}, last)
    inbox.end(ConnectionClosed(1000, ""))
    assert await inbox.get() == {"n": 1}
    if fits:
        assert await inbox.get() == {"n": 2}
    else:
        with pytest.raises(EventsLost, match="1 events"):
            await inbox.get()


async def test_bytes_that_were_read_make_room(inbox: Inbox) -> None:
    inbox.put({"n": 0}, 50)
    for n in range(20):
        inbox.put({"n": n + 1}, 50)
        assert await inbox.get() == {"n": n}


async def test_a_message_that_finds_none_before_it_fits_whatever_its_size(inbox: Inbox) -> None:
    inbox.put({"n": 1}, 1_000_000)
    assert await inbox.get() == {"n": 1}


async def test_after_a_gap_nothing_is_added_until_the_reader_knows_of_it(inbox: Inbox) -> None:
    inbox.put({"n": 1}, 80)
    inbox.put({"n": 2}, 80)
    inbox.put({"n": 3}, 1)  # it would fit
    assert await inbox.get() == {"n": 1}
    inbox.put({"n": 4}, 1)
    with pytest.raises(EventsLost) as lost:
        await inbox.get()
    assert lost.value.count == 3
    inbox.put({"n": 5}, 1)
    assert await inbox.get() == {"n": 5}


async def test_the_end_comes_after_all_that_waits_and_stays(inbox: Inbox) -> None:
    end = ConnectionClosed(4001, "shutdown", reconnect=True, after=1.5)
    inbox.put({"n": 1}, 80)
    inbox.put({"n": 2}, 80)
    inbox.end(end)
    assert await inbox.get() == {"n": 1}
    with pytest.raises(EventsLost):
        await inbox.get()
    for _ in range(2):
        with pytest.raises(ConnectionClosed) as raised:
            await inbox.get()
        assert vars(raised.value) == vars(end)
        assert raised.value is not end  # so that each reader has a traceback of its own


async def test_the_end_wakes_a_reader(inbox: Inbox) -> None:
    reading = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.end(ConnectionClosed(1000, "closed"))
    with pytest.raises(ConnectionClosed, match="closed"):
        await reading
