"""A task that is followed tells all its events, in order and once, whatever is lost on the way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from jackfield.agents import task_events as module
from jackfield.agents.task import Progress
from jackfield.agents.task_events import TaskEvents
from jackfield.store.keys import Keys
from jackfield.store.topics import HistoryPage, StoredTopic
from jackfield.wire.errors import Error
from jackfield.wire.position import Position

TASK = "echo." + "x" * 22


def event(offset: int, **payload: Any) -> bytes:
    """An event of a task's topic; by default a chunk with its own number."""
    payload = payload or {"kind": "chunks", "seq": offset - 1, "chunks": [{"n": offset}]}
    return msgspec.json.encode({"type": "event", "offset": offset, "payload": payload})


def end(offset: int) -> bytes:
    return event(offset, kind="state", state="completed", output={})


class History:
    """A topic that has events, and may be away."""

    def __init__(self) -> None:
        self.epoch = "one"
        self.events: list[bytes] = []
        self.complete = True
        self.failures = 0
        self.pages = 0

    async def history(
        self, stored: StoredTopic, *, after: int, limit: int, **page: Any
    ) -> HistoryPage:
        assert stored.keys.channel.endswith(TASK)
        assert page["before"] is None
        self.pages += 1
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise Error("unavailable")
        found = self.events[after : after + limit]
        assert sum(map(len, found)) <= page["max_bytes"]
        return HistoryPage(self.epoch, len(self.events), self.complete, found)


class Followed:
    """The events of a task, and how often its agent was paused or resumed."""

    def __init__(self, history: History) -> None:
        keys = Keys("test", "node").topic(f"task:{TASK}")
        self.pauses: list[bool] = []
        stored = StoredTopic(keys, 100, 1000)
        self.events = TaskEvents(TASK, stored, history, self.throttle)  # type: ignore[arg-type]
        self.progress = self.events.progress()

    def throttle(self, task: str, *, pause: bool) -> None:
        assert task == TASK
        self.pauses.append(pause)

    def receive(self, *offsets: int, epoch: str = "one") -> None:
        for offset in offsets:
            self.events.receive(epoch, offset, event(offset))

    async def take(self, count: int) -> list[int]:
        """The numbers of the next chunks."""
        return [number_of(await anext(self.progress)) for _ in range(count)]

    async def rest(self) -> list[Progress]:
        return [each async for each in self.progress]


def number_of(progress: Progress) -> int:
    return int(msgspec.json.decode(bytes(progress.chunks[0]))["n"])


@pytest.fixture
def history() -> History:
    return History()


@pytest.fixture
async def followed(history: History) -> AsyncIterator[Followed]:
    followed = Followed(history)
    yield followed
    await followed.progress.aclose()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY_PAUSE", 0)


async def test_events_are_told_as_they_come_up_to_the_end(
    followed: Followed, history: History
) -> None:
    followed.receive(1, 2)
    assert await followed.take(2) == [1, 2]
    waiting = asyncio.create_task(followed.take(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    followed.receive(3)
    assert await waiting == [3]
    followed.events.receive("one", 4, end(4))
    assert [each.state for each in await followed.rest()] == ["completed"]
    assert followed.events.ended
    assert history.pages == 0


async def test_events_that_come_twice_are_told_once(followed: Followed, history: History) -> None:
    followed.receive(1, 1, 2, 1, 2, 3)
    assert await followed.take(3) == [1, 2, 3]
    assert history.pages == 0


async def test_a_gap_is_filled_from_the_history(followed: Followed, history: History) -> None:
    history.events = [event(n) for n in range(1, 7)]
    followed.receive(1, 2, 5, 6)
    assert await followed.take(6) == [1, 2, 3, 4, 5, 6]
    followed.receive(6, 7)
    assert await followed.take(1) == [7]
    assert history.pages == 1


async def test_what_comes_while_the_history_is_read_leaves_no_gap(
    followed: Followed, history: History
) -> None:
    history.events = [event(n) for n in range(1, 4)]
    followed.receive(3)
    assert await followed.take(3) == [1, 2, 3]
    followed.events.catch_up()
    followed.receive(4)  # it is not kept
    history.events.append(event(4))
    assert await followed.take(1) == [4]
    history.events += [event(5), event(6)]
    followed.receive(6)
    assert await followed.take(2) == [5, 6]


async def test_a_long_history_is_read_in_pages(followed: Followed, history: History) -> None:
    history.events = [*map(event, range(1, 1001)), end(1001)]
    followed.events.catch_up()
    assert len(await followed.rest()) == 1001
    assert history.pages == 4


async def test_a_history_that_is_away_is_read_later(followed: Followed, history: History) -> None:
    history.events, history.failures = [event(1)], 3
    followed.events.catch_up()
    assert await followed.take(1) == [1]
    assert history.pages == 4


async def test_a_call_that_has_failed_waits_for_no_history(
    followed: Followed, history: History
) -> None:
    history.failures = 10**9
    followed.events.catch_up()
    followed.events.fail(Error("unavailable", "too late"))
    with pytest.raises(Error, match="too late"):
        await followed.rest()
    assert history.pages == 1


async def test_a_call_that_has_failed_tells_what_it_has_first(followed: Followed) -> None:
    followed.receive(1)
    followed.events.fail(Error("unavailable", "too late"))
    assert await followed.take(1) == [1]
    with pytest.raises(Error, match="too late"):
        await followed.take(1)


@pytest.mark.parametrize(("complete", "kept"), [(False, 9), (True, 1)])
async def test_what_is_lost_is_said_to_be(
    followed: Followed, history: History, *, complete: bool, kept: int
) -> None:
    followed.receive(1, 2)
    assert await followed.take(2) == [1, 2]
    history.complete, history.events = complete, [event(n + 1) for n in range(kept)]
    followed.events.catch_up()
    with pytest.raises(Error) as lost:
        await followed.rest()
    assert (lost.value.code, lost.value.extra["task"]) == ("unavailable", TASK)


async def test_another_epoch_goes_on_from_where_it_begins(
    followed: Followed, history: History
) -> None:
    followed.receive(1, 2, 3)
    assert await followed.take(3) == [1, 2, 3]
    followed.receive(3, 4, epoch="two")  # Redis was restarted, and had lost the third
    assert not (await anext(followed.progress)).chunks  # its chunk was told
    assert await followed.take(1) == [4]
    history.events, history.epoch = [event(n) for n in range(1, 8)], "three"
    followed.receive(7, epoch="three")
    assert await followed.take(3) == [5, 6, 7]


async def test_the_agent_waits_for_a_slow_caller_and_goes_on_behind_it(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE_BYTES", 10 * len(event(1)))
    monkeypatch.setattr(module, "_RESUME_BYTES", 3 * len(event(1)))
    followed.receive(*range(1, 10))
    assert followed.pauses == []
    followed.receive(*range(10, 15))
    assert followed.pauses == [True]
    assert await followed.take(14) == list(range(1, 15))
    waiting = asyncio.create_task(followed.take(1))
    await asyncio.sleep(0)
    assert followed.pauses == [True, False]
    waiting.cancel()
    followed.events.resume_agent()
    assert followed.pauses == [True, False]


async def test_a_caller_that_leaves_while_its_agent_waits_lets_it_go(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE_BYTES", 1)
    followed.receive(1)
    followed.events.resume_agent()
    followed.events.resume_agent()
    assert followed.pauses == [True, False]


async def test_no_more_is_kept_for_a_caller_than_may_be(
    followed: Followed, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_BYTES", 10 * len(event(1)))
    history.events = [event(n) for n in range(1, 101)]
    for offset in range(1, 101):
        followed.receive(offset)
        assert followed.events._bytes <= 11 * len(event(100))
    assert followed.events._bytes == 0
    assert await followed.take(100) == list(range(1, 101))


@pytest.mark.parametrize(
    ("here", "there", "looks"),
    [((), 0, False), ((1, 2), 2, False), ((1, 2), 3, True), ((1, 2), 0, True)],
)
async def test_a_topic_that_stands_elsewhere_is_looked_at_again(
    followed: Followed, here: Sequence[int], there: int, *, looks: bool
) -> None:
    followed.receive(*here)
    followed.events.compare(Position("one", there))
    assert followed.events._is_behind is looks


async def test_a_chunk_that_a_restarted_redis_counts_again_is_told_once(followed: Followed) -> None:
    followed.receive(1, 2, 3)
    assert await followed.take(3) == [1, 2, 3]
    # The last two were lost, and the agent has sent them again, with one more, in one event.
    chunks = {"kind": "chunks", "seq": 1, "chunks": [{"n": 2}, {"n": 3}, {"n": 4}]}
    followed.events.receive("two", 2, event(2, **chunks))
    followed.events.receive("two", 3, end(3))
    told = await followed.rest()
    assert [msgspec.json.decode(bytes(chunk)) for chunk in told[0].chunks] == [{"n": 4}]
    assert told[-1].state == "completed"
