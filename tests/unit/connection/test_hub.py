"""A shutdown says goodbye to everyone, lets requests finish in time, and closes all."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from jackfield.connection import hub as module
from jackfield.connection.hub import Hub
from jackfield.connection.request import Request
from jackfield.connection.running import MessageOptions
from jackfield.wire.close_codes import CloseCode
from tests.support.connected import Connected
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
async def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for what does not come."""
    monkeypatch.setattr(module, "_POLL_INTERVAL", 0)
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0)


@pytest.fixture
async def both() -> AsyncIterator[tuple[Connected, Connected]]:
    made = Connected(connection_id="one"), Connected(connection_id="two")
    yield made
    for each in made:
        each.close()


def request_of(connected: Connected, *, streams: bool = False) -> Request[MessageOptions]:
    """A request under way whose end is the test's to say."""
    options = MessageOptions(
        "a.b", scopes=frozenset(), rate=None, streams=streams, concurrent=False, timeout=None
    )
    request = Request(connected.connection, options, len(connected.connection.requests), {})
    connected.connection.requests[request.key] = request
    return request


async def test_connections_come_and_go_by_their_ids(both: tuple[Connected, Connected]) -> None:
    hub, (one, two) = Hub(), both
    hub.add(one.connection)
    hub.add(two.connection)
    assert list(hub) == [one.connection, two.connection]
    for connection in hub:
        hub.discard(connection.id)
    hub.discard("never was")
    assert (len(hub), list(hub), hub.draining) == (0, [], False)


async def test_a_shutdown_announces_itself_before_it_closes(
    both: tuple[Connected, Connected],
) -> None:
    hub, (one, _) = Hub(), both
    hub.add(one.connection)
    await hub.drain(0)
    assert hub.draining
    goodbye, close = one.sent()
    assert (goodbye["type"], goodbye["payload"]["code"]) == ("goodbye", 4001)
    assert close == (4001, "shutdown")


async def test_streams_are_stopped_at_once_and_requests_finish(
    both: tuple[Connected, Connected],
) -> None:
    hub, (one, two) = Hub(), both
    hub.add(one.connection)
    hub.add(two.connection)
    stream, request = request_of(one, streams=True), request_of(two)
    draining = asyncio.create_task(hub.drain(3600))
    await wait_until(lambda: stream.stop_reason)
    assert stream.stop_reason is not None
    assert (stream.stop_reason.code, stream.stop_reason.retryable) == ("unavailable", True)
    assert stream.stop_reason.extra == {"retry_after": 1.0}
    stream.finish()
    await asyncio.sleep(0)
    assert (request.stop_reason, two.connection.closing) == (None, None)
    request.finish()
    await draining
    assert request.stop_reason is None
    assert two.connection.closing is CloseCode.SHUTDOWN


async def test_requests_past_the_deadline_are_stopped(both: tuple[Connected, Connected]) -> None:
    hub, (one, _) = Hub(), both
    hub.add(one.connection)
    request = request_of(one)
    await hub.drain(0)
    assert request.stop_reason is not None
    assert request.stop_reason.code == "unavailable"
    assert one.connection.closing is CloseCode.SHUTDOWN


async def test_who_has_yet_to_authenticate_is_closed_as_well(
    both: tuple[Connected, Connected],
) -> None:
    hub, (one, two) = Hub(), both
    with hub.authenticating(one.connection):
        with hub.authenticating(two.connection):
            pass
        assert len(hub) == 0
        await hub.drain(0)
    assert one.connection.closing is CloseCode.SHUTDOWN
    assert two.connection.closing is None


async def test_a_shutdown_waits_until_the_last_has_gone(
    both: tuple[Connected, Connected], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 3600)
    hub, (one, _) = Hub(), both
    hub.add(one.connection)
    draining = asyncio.create_task(hub.drain(0))
    await wait_until(lambda: one.connection.closing)
    await asyncio.sleep(0)
    assert not draining.done()
    hub.discard(one.connection.id)
    await draining
