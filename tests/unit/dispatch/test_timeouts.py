"""Only requests that do not end at once are slow: they get their timer, and others are read."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from jackfield.connection.request import Request
from jackfield.connection.running import MessageOptions
from jackfield.dispatch.timeouts import CHECK_INTERVAL, SlowRequests
from tests.support.connected import Connected
from tests.support.waiting import wait_until


@pytest.fixture
async def slow_requests() -> AsyncIterator[SlowRequests]:
    made = SlowRequests()
    yield made
    made.close()


def request_of(
    connected: Connected, message_id: int, timeout: float | None = 3600.0
) -> Request[MessageOptions]:
    options = MessageOptions(
        "a.b", scopes=frozenset(), rate=None, streams=False, concurrent=False, timeout=timeout
    )
    request = Request(connected.connection, options, message_id, {})
    connected.connection.requests[request.key] = request
    return request


async def test_one_that_has_ended_is_not_slow(slow_requests: SlowRequests) -> None:
    connected = Connected()
    ended, slow = request_of(connected, 1), request_of(connected, 2)
    slow_requests.add(ended)
    slow_requests.add(slow)
    ended.finish()
    slow_requests._check()
    assert connected.idle_reader.slow == [slow]
    assert [request.timer is None for request in (ended, slow)] == [True, False]
    slow.finish()


async def test_one_without_a_timeout_is_read_past_as_well(slow_requests: SlowRequests) -> None:
    connected = Connected()
    request = request_of(connected, 1, None)
    slow_requests.add(request)
    slow_requests._check()
    assert connected.idle_reader.slow == [request]
    assert request.timer is None


async def test_each_is_checked_once(slow_requests: SlowRequests) -> None:
    connected = Connected()
    request = request_of(connected, 1)
    slow_requests.add(request)
    slow_requests._check()
    slow_requests._check()
    assert connected.idle_reader.slow == [request]
    request.finish()


async def test_there_is_one_timer_for_all_and_then_the_next(slow_requests: SlowRequests) -> None:
    connected = Connected()
    first, second, third = (request_of(connected, number, None) for number in (1, 2, 3))
    slow_requests.add(first)
    timer = slow_requests._timer
    assert timer is not None
    until = timer.when() - asyncio.get_running_loop().time()
    assert 0 < until <= CHECK_INTERVAL
    slow_requests.add(second)
    assert slow_requests._timer is timer
    await wait_until(lambda: connected.idle_reader.slow == [first, second])
    slow_requests.add(third)
    await wait_until(lambda: connected.idle_reader.slow == [first, second, third])


async def test_nothing_is_checked_once_it_is_closed(slow_requests: SlowRequests) -> None:
    connected = Connected()
    slow_requests.close()
    slow_requests.add(request_of(connected, 1))
    timer = slow_requests._timer
    assert timer is not None
    slow_requests.close()
    assert timer.cancelled()
    slow_requests._check()
    assert connected.idle_reader.slow == []
