"""A task's events, read from a topic that is longer than a page, and from one that loses some."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import pytest

from jackfield.client import Client, Event, Gap, History, Position
from jackfield_a2a.task_events import EventsLost, TaskEvent, read_task_events

WORKING: dict[str, Any] = {"kind": "state", "state": "working"}
DONE: dict[str, Any] = {"kind": "state", "state": "completed"}


class Topic:
    """Stands in for a client whose topic has pages of two events.

    Args:
        known: The events that the history has, as the task begins to be read.
        live: What a subscription brings; each is in the history, too, once it was due.
    """

    def __init__(self, known: Sequence[dict[str, Any]], live: Sequence[Any] = ()) -> None:
        self.epoch = "first"
        self.payloads = [*known]
        self.live = [*live]
        #: What comes while nobody is told, where there is a gap.
        self.missed: list[dict[str, Any]] = []
        self.asked: list[Position] = []

    async def history(self, topic: str, *, after: int) -> History:
        assert topic == "task:bot.x"
        page = self.payloads[after : after + 2]
        events = [Event(after + 1 + n, payload, self.epoch) for n, payload in enumerate(page)]
        return History(Position(self.epoch, len(self.payloads)), events)

    @asynccontextmanager
    async def subscribe(self, topic: str, *, since: Position) -> AsyncIterator[AsyncIterator[Any]]:
        assert topic == "task:bot.x"
        self.asked.append(since)
        yield self._come(since.offset)

    async def _come(self, offset: int) -> AsyncIterator[Any]:
        while self.live:
            item = self.live.pop(0)
            if isinstance(item, Gap):
                self.payloads += self.missed
                yield item
                continue
            offset += 1
            self.payloads.append(item)
            yield Event(offset, item, self.epoch)


async def told(topic: Topic) -> list[TaskEvent]:
    async with aclosing(read_task_events(cast(Client, topic), "bot.x")) as events:
        return [event async for event in events]


async def test_a_task_of_several_pages_is_read_to_its_end() -> None:
    topic = Topic([WORKING] * 4 + [DONE])
    assert [(offset, newest) for offset, _, newest in await told(topic)] == [
        (1, False),
        (2, False),
        (3, False),
        (4, False),
        (5, True),
    ]
    assert topic.asked == []  # there is nothing to wait for


async def test_what_comes_follows_on_what_was_read() -> None:
    topic = Topic([WORKING] * 3, [WORKING, DONE])
    assert [(offset, newest) for offset, _, newest in await told(topic)][2:] == [
        (3, True),
        (4, True),
        (5, True),
    ]
    assert topic.asked == [Position("first", 3)]


async def test_a_gap_is_filled_from_the_history() -> None:
    topic = Topic([WORKING], [Gap("first", 3), DONE])
    topic.missed = [WORKING, WORKING]
    assert [offset for offset, _, _ in await told(topic)] == [1, 2, 3, 4]
    assert topic.asked == [Position("first", 1), Position("first", 3)]


async def test_a_topic_that_has_begun_anew_is_no_part_of_the_task() -> None:
    topic = Topic([WORKING], [Gap("second", 0)])

    async def read() -> None:
        async with aclosing(read_task_events(cast(Client, topic), "bot.x")) as events:
            async for _ in events:
                topic.epoch = "second"

    with pytest.raises(EventsLost):
        await read()
