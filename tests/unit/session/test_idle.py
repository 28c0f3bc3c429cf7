"""Who has sent no message for the timeout, and waits for none, is closed."""

from typing import Any, cast

from jackfield.session.idle import IdleClients
from jackfield.wire.close_codes import CloseCode
from tests.support.connected import Connected


async def test_only_who_has_done_nothing_for_the_timeout_is_closed() -> None:
    idle, busy = Connected(connection_id="idle"), Connected(connection_id="busy")
    both = [idle.connection, busy.connection]
    clients = IdleClients(10.0)
    clients.close_idle(both, 100.0)
    busy.connection.allowance.left -= 1
    clients.close_idle(both, 109.9)
    assert idle.closed_with() is None
    clients.close_idle(both, 110.0)
    assert idle.closed_with() is CloseCode.OK
    assert idle.sent() == [(1000, "idle")]
    assert busy.closed_with() is None
    clients.close_idle(both, 119.8)
    assert busy.closed_with() is None
    clients.close_idle(both, 119.9)
    assert busy.closed_with() is CloseCode.OK


async def test_pongs_alone_are_nothing_done() -> None:
    client = Connected()
    clients = IdleClients(10.0)
    clients.close_idle([client.connection], 0.0)
    client.connection.allowance.left -= 1
    client.connection.control_frames += 1
    clients.close_idle([client.connection], 10.0)
    assert client.closed_with() is CloseCode.OK


async def test_who_waits_for_an_answer_is_not_idle() -> None:
    client = Connected()
    clients = IdleClients(10.0)
    client.connection.requests[1] = cast(Any, object())
    clients.close_idle([client.connection], 0.0)
    clients.close_idle([client.connection], 50.0)
    client.connection.requests.clear()
    clients.close_idle([client.connection], 59.9)
    assert client.closed_with() is None
    clients.close_idle([client.connection], 60.0)
    assert client.closed_with() is CloseCode.OK


async def test_without_a_timeout_nobody_is() -> None:
    client = Connected()
    clients = IdleClients(0)
    for now in (0.0, 1e9):
        clients.close_idle([client.connection], now)
    assert client.closed_with() is None


async def test_who_has_gone_is_forgotten() -> None:
    client = Connected()
    clients = IdleClients(10.0)
    clients.close_idle([client.connection], 0.0)
    clients.close_idle([], 5.0)
    clients.close_idle([client.connection], 20.0)
    assert client.closed_with() is None
