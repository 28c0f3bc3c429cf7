"""A request is stopped once, answered once, and gone from its connection at its end."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jackfield.connection.request import CONNECTION_ENDED, Request
from jackfield.connection.running import MessageOptions
from jackfield.wire.errors import Error
from tests.support.connected import Connected
from tests.support.routing import turns


@pytest.fixture
async def connected() -> AsyncIterator[Connected]:
    made = Connected()
    yield made
    made.close()


def request_of(
    connected: Connected,
    message_id: int | str | None = 1,
    timeout: float | None = 3600.0,
    data: object = None,
) -> Request[MessageOptions]:
    options = MessageOptions(
        "a.b", scopes=frozenset(), rate=None, streams=False, concurrent=False, timeout=timeout
    )
    request = Request(connected.connection, options, message_id, data)
    connected.connection.requests[request.key] = request
    return request


class Waiting:
    """Keeps what became of it."""

    def __init__(self) -> None:
        self.became: list[str] = []

    def activate(self) -> None:
        self.became.append("activated")

    def abandon(self) -> None:
        self.became.append("abandoned")


async def forever() -> None:
    await asyncio.Event().wait()


async def test_its_key_is_its_id_or_itself(connected: Connected) -> None:
    assert request_of(connected, "x").key == "x"
    without = request_of(connected, None)
    assert without.key is without


async def test_its_timer_starts_once_and_stops_it_with_timeout(connected: Connected) -> None:
    request = request_of(connected)
    request.start_timeout()
    timer = request.timer
    assert timer is not None
    assert 3599 < timer.when() - connected.connection.loop.time() <= 3600
    request.start_timeout()
    assert request.timer is timer
    timer._run()
    assert request.stop_reason is not None
    assert request.stop_reason.code == "timeout"
    timer.cancel()


async def test_without_a_timeout_it_has_no_timer(connected: Connected) -> None:
    request = request_of(connected, timeout=None)
    request.start_timeout()
    assert request.timer is None


async def test_it_can_be_stopped_before_it_has_begun(connected: Connected) -> None:
    request = request_of(connected)
    assert request.stop(Error("cancelled"))
    assert not request.uncancel()  # there is no task whose cancellation it could be


async def test_it_is_stopped_once_and_the_first_reason_stays(connected: Connected) -> None:
    request = request_of(connected)
    request.task = asyncio.create_task(forever())
    await turns(1)
    first = Error("cancelled")
    assert request.stop(first)
    assert not request.stop(CONNECTION_ENDED)
    assert request.stop_reason is first
    await asyncio.wait([request.task])
    assert request.task.cancelled()


async def test_one_that_is_done_is_not_stopped(connected: Connected) -> None:
    request = request_of(connected)
    request.finish()
    assert not request.stop(Error("cancelled"))
    assert request.stop_reason is None


async def test_a_handler_does_not_stop_itself(connected: Connected) -> None:
    request = request_of(connected)
    request.task = asyncio.current_task()
    assert not request.stop(Error("cancelled"))
    assert request.stop_reason is None


async def test_a_cancellation_is_taken_back_only_if_it_was_its_own(connected: Connected) -> None:
    taken_back: list[bool] = []

    async def handle(request: Request[Any]) -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            taken_back.append(request.uncancel())

    for by_others in (False, True):
        request = request_of(connected)
        request.task = asyncio.create_task(handle(request))
        await turns(1)
        request.stop(Error("cancelled"))
        if by_others:
            request.task.cancel()
        await asyncio.wait([request.task])
    assert taken_back == [True, False]


async def test_one_that_was_not_stopped_takes_nothing_back(connected: Connected) -> None:
    request = request_of(connected)
    request.task = asyncio.create_task(forever())
    request.task.cancel()
    assert not request.uncancel()
    assert request.task.cancelling() == 1
    await asyncio.wait([request.task])


async def test_what_waits_for_the_reply_goes_on_once_and_in_order(connected: Connected) -> None:
    request, first, second = request_of(connected), Waiting(), Waiting()
    request.call_after_reply(first)
    request.call_after_reply(second)
    assert request.after_reply == [first, second]
    request.replied()
    request.replied()
    request.finish()
    assert (first.became, second.became) == (["activated"], ["activated"])


async def test_what_waits_for_a_reply_that_does_not_come_is_abandoned(
    connected: Connected,
) -> None:
    request, waiting = request_of(connected), Waiting()
    request.call_after_reply(waiting)
    request.finish()
    assert waiting.became == ["abandoned"]


@pytest.mark.parametrize("message_id", [1, "x", None])
async def test_at_its_end_it_leaves_its_connection_and_its_timer(
    connected: Connected, message_id: int | str | None
) -> None:
    request = request_of(connected, message_id)
    request.start_timeout()
    request.finish()
    assert request.done
    assert connected.connection.requests == {}
    assert request.timer is not None
    assert request.timer.cancelled()


@pytest.mark.parametrize("message_id", [1, "x", None])
async def test_it_is_freed_at_its_end_without_the_garbage_collector(
    connected: Connected, message_id: int | str | None
) -> None:
    class Payload:
        """What can be referred to weakly, as a request can't."""

    payload = Payload()
    request = request_of(connected, message_id, data=payload)
    request.start_timeout()
    kept = weakref.ref(payload)
    gc.disable()
    try:
        request.finish()
        del request, payload
        assert kept() is None
    finally:
        gc.enable()
