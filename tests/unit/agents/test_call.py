"""A call knows what is to become of its task when its caller leaves, or its time has passed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jackfield.agents.call import Call
from jackfield.agents.task import Progress
from jackfield.wire.errors import Error
from tests.support.waiting import wait_until

TASK = "echo." + "x" * 22


class Events:
    """The events of a task, and what was asked of them."""

    def __init__(self) -> None:
        self.task = TASK
        self.ended = False
        self.asked: list[str] = []
        self.fault: Error | None = None

    async def progress(self) -> AsyncIterator[Progress]:
        yield Progress("state", state="completed")

    def catch_up(self) -> None:
        self.asked.append("catch up")

    def resume_agent(self) -> None:
        self.asked.append("resume")

    def fail(self, error: Error) -> None:
        self.fault = error


class Channel:
    """A channel that knows what is followed by it."""

    def __init__(self) -> None:
        self.unfollowed: list[Events] = []

    def unfollow(self, events: Events) -> None:
        self.unfollowed.append(events)


class Made:
    """A call, and what it has caused."""

    def __init__(self, *, follow: bool = True) -> None:
        self.events, self.channel = Events(), Channel()
        self.canceled: list[tuple[str, Error]] = []
        self.expired: list[Call] = []
        channel: Any = self.channel if follow else None
        events: Any = self.events if follow else None
        self.call = Call(
            TASK,
            channel,
            events,
            on_expired=self.expired.append,
            cancel=lambda task, error: self.canceled.append((task, error)),
        )


LEFT = Error("cancelled", "The caller has left.")


async def test_a_call_tells_what_becomes_of_its_task() -> None:
    made = Made()
    assert [each.state async for each in made.call.progress()] == ["completed"]
    made.call.catch_up()
    made.call.fail(LEFT)
    assert (made.events.asked, made.events.fault) == (["catch up"], LEFT)


async def test_a_call_that_is_left_is_canceled() -> None:
    made = Made()
    made.call.stop(LEFT)
    assert made.channel.unfollowed == [made.events]
    assert made.canceled == [(TASK, LEFT)]
    assert made.events.asked == []


async def test_a_call_that_is_left_running_does_not_pause_its_agent() -> None:
    made = Made()
    made.call.stop()
    assert made.channel.unfollowed == [made.events]
    assert made.canceled == []
    assert made.events.asked == ["resume"]


@pytest.mark.parametrize("error", [LEFT, None])
async def test_of_a_task_that_has_ended_nothing_more_becomes(error: Error | None) -> None:
    made = Made()
    made.events.ended = True
    made.call.stop(error)
    assert made.channel.unfollowed == [made.events]
    assert (made.canceled, made.events.asked) == ([], [])


async def test_the_deadline_is_noticed_once_it_has_passed() -> None:
    made = Made()
    made.call.expire_in(0)
    await wait_until(lambda: made.expired)
    assert made.expired == [made.call]


async def test_the_deadline_of_a_call_that_was_stopped_is_forgotten() -> None:
    made = Made()
    made.call.expire_in(0)
    made.call.stop()
    for _ in range(5):
        await asyncio.sleep(0)
    assert made.expired == []


async def test_what_is_not_followed_has_nothing_to_stop() -> None:
    made = Made(follow=False)
    made.call.catch_up()
    made.call.fail(LEFT)
    made.call.expire_in(0)
    made.call.stop(LEFT)
    for _ in range(5):
        await asyncio.sleep(0)
    assert (made.canceled, made.expired, made.events.asked) == ([], [], [])
    assert made.call.task == TASK
