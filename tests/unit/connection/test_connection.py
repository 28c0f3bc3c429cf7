"""A connection says what happens to it once, in order, and leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jackfield.connection.connection import RECONNECT_SPREAD
from jackfield.connection.running import MessageOptions
from jackfield.connection.slot import Slot
from jackfield.wire import frames
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from jackfield.wire.protocol import MSGPACK
from tests.support.connected import Connected


@pytest.fixture
async def connected() -> AsyncIterator[Connected]:
    made = Connected(limits={"requests_per_second": 8, "reply_bytes": 2048})
    yield made
    made.close()


class Running:
    """A request that keeps why it was stopped."""

    def __init__(self, *, streams: bool = False) -> None:
        self.options = MessageOptions(
            "a.b", scopes=frozenset(), rate=None, streams=streams, concurrent=False, timeout=None
        )
        self.task: asyncio.Task[Any] | None = None
        self.reasons: list[str] = []

    def stop(self, reason: Error) -> bool:
        self.reasons.append(reason.code)
        return len(self.reasons) == 1


async def test_it_is_whole_when_it_is_made(connected: Connected) -> None:
    connection = connected.connection
    assert (connection.id, connection.remote, connection.user) == ("c1", "192.0.2.1", None)
    assert (connection.alive, connection.closing, connection.requests) == (True, None, {})
    assert connection.loop is asyncio.get_running_loop()


async def test_whose_it_is_may_change(connected: Connected) -> None:
    connected.connection.identify(Identity("alice", frozenset({"a"})))
    assert connected.connection.user == "alice"
    assert connected.connection.identity.scopes == {"a"}


async def test_what_a_feature_keeps_is_made_once_and_only_when_asked_for(
    connected: Connected,
) -> None:
    made: list[list[int]] = []

    def make() -> list[int]:
        made.append([])
        return made[-1]

    slot, other = Slot("numbers", make), Slot("others", dict[str, int])
    assert made == []
    assert connected.connection[slot] is connected.connection[slot]
    assert connected.connection[other] == {}
    assert len(made) == 1


async def test_messages_go_out_in_the_connections_encoding() -> None:
    connected = Connected(codec=MSGPACK)
    connected.connection.send(MSGPACK.reply(1, {"a": 1}))
    assert connected.sent() == [{"type": "reply", "id": 1, "payload": {"a": 1}}]


async def test_a_refusal_has_the_error_and_the_id(connected: Connected) -> None:
    error = Error("not_found", "No such room.", room="lobby")
    connected.connection.refuse("q", error)
    connected.connection.refuse(None, error)
    assert connected.sent() == [
        {"type": "error", "id": "q", "error": error.as_dict()},
        {"type": "error", "id": None, "error": error.as_dict()},
    ]


async def test_an_error_that_can_not_be_encoded_becomes_an_incident(connected: Connected) -> None:
    connected.connection.refuse(7, Error("conflict", key=object()))
    (message,) = connected.sent()
    assert message["id"] == 7
    assert message["error"]["code"] == "internal"
    assert message["error"]["incident"]


async def test_a_chunk_has_its_number_and_state(connected: Connected) -> None:
    connected.connection.send_chunk(1, 0, {"n": 1})
    connected.connection.send_chunk(1, 1, None, "working")
    assert connected.sent() == [
        {"type": "chunk", "id": 1, "seq": 0, "payload": {"n": 1}},
        {"type": "chunk", "id": 1, "seq": 1, "state": "working", "payload": None},
    ]


async def test_a_chunk_of_just_the_limit_is_sent_and_a_larger_one_is_not(
    connected: Connected,
) -> None:
    empty = len(connected.connection.codec.chunk(1, 0, {"text": ""}, None))
    connected.connection.send_chunk(1, 0, {"text": "x" * (2048 - empty)})
    assert len(connected.sent()) == 1
    with pytest.raises(Error, match="too_large"):
        connected.connection.send_chunk(1, 0, {"text": "x" * (2049 - empty)})
    assert connected.sent() == []


async def test_its_activity_changes_with_messages_and_not_with_control_frames(
    connected: Connected,
) -> None:
    connection = connected.connection
    seen = [connection.activity]
    connection.allowance.refill(connection.loop.time())
    seen.append(connection.activity)
    connection.allowance.left -= 1
    seen.append(connection.activity)
    connection.allowance.left -= 1
    connection.control_frames += 1  # control frames alone change nothing
    assert connection.activity == seen[-1]
    assert len(set(seen)) == 3


async def test_as_many_refusals_at_once_as_requests_are_no_flood(connected: Connected) -> None:
    assert [connected.connection.count_refusal() for _ in range(9)] == [False] * 8 + [True]


async def test_a_client_cancels_its_request_by_its_id(connected: Connected) -> None:
    request = Running()
    connected.connection.requests[1] = request
    assert connected.connection.cancel(1)
    assert not connected.connection.cancel(1)
    assert not connected.connection.cancel("1")
    assert request.reasons == ["cancelled", "cancelled"]


async def test_streams_can_be_stopped_alone(connected: Connected) -> None:
    stream, request = Running(streams=True), Running()
    connected.connection.requests.update({1: stream, 2: request})
    connected.connection.stop_requests(Error("unavailable"), streams_only=True)
    assert (stream.reasons, request.reasons) == (["unavailable"], [])
    connected.connection.stop_requests(Error("timeout"))
    assert (stream.reasons, request.reasons) == (["unavailable", "timeout"], ["timeout"])


async def test_a_request_may_go_while_all_are_stopped(connected: Connected) -> None:
    requests = connected.connection.requests

    class Going(Running):
        def stop(self, reason: Error) -> bool:
            requests.clear()
            return super().stop(reason)

    requests.update({1: Going(), 2: Running()})
    connected.connection.stop_requests(Error("cancelled"))
    assert requests == {}


async def test_a_close_of_the_protocols_own_is_announced(connected: Connected) -> None:
    connected.connection.close(CloseCode.NO_PONG)
    goodbye, close = connected.sent()
    assert goodbye["type"] == "goodbye"
    assert 0 <= goodbye["payload"].pop("after") <= RECONNECT_SPREAD
    assert goodbye["payload"] == {"code": 4004, "reason": "no pong", "reconnect": True}
    assert close == (4004, "no pong")
    assert connected.connection.closing is CloseCode.NO_PONG


async def test_any_other_close_is_not(connected: Connected) -> None:
    connected.connection.close(CloseCode.OK, "idle")
    assert connected.sent() == [(1000, "idle")]


async def test_the_first_reason_to_close_counts_and_nothing_is_sent_after(
    connected: Connected,
) -> None:
    connected.connection.close(CloseCode.OK)
    connected.connection.close(CloseCode.REVOKED)
    connected.connection.answer_close(1000)
    connected.connection.send(b"{}")
    assert connected.sent() == [(1000, "")]
    assert connected.connection.closing is CloseCode.OK


async def test_goodbye_is_said_once(connected: Connected) -> None:
    connected.connection.send_goodbye(CloseCode.SHUTDOWN, "soon")
    connected.connection.close(CloseCode.SHUTDOWN)
    goodbye, close = connected.sent()
    assert goodbye["payload"]["reason"] == "soon"
    assert close == (4001, "shutdown")


@pytest.mark.parametrize(("code", "echo"), [(1000, (1000, "")), (3999, (3999, "")), (0, (0, ""))])
async def test_a_clients_close_is_echoed(
    connected: Connected, code: int, echo: tuple[int, str]
) -> None:
    connected.connection.answer_close(code)
    assert connected.sent() == [echo]
    assert connected.connection.closing is CloseCode.OK


async def test_an_echo_without_a_code_is_empty(connected: Connected) -> None:
    connected.connection.answer_close(0)
    connected.connection.outbox._write_queued()
    assert connected.transport.written == frames.close_without_code()


async def test_a_close_that_is_not_answered_ends_the_socket(connected: Connected) -> None:
    connected.connection.close(CloseCode.OK)
    timer = connected.connection._abort_timer
    assert timer is not None
    assert not connected.transport.is_aborted
    timer._run()  # as the loop does when its time has come
    assert connected.transport.is_aborted


async def test_an_abort_says_nothing_and_keeps_the_first_code(connected: Connected) -> None:
    connected.connection.send(b"{}")
    connected.connection.abort(CloseCode.SLOW_CONSUMER)
    connected.connection.abort(CloseCode.OK)
    assert connected.sent() == []
    assert connected.transport.is_aborted
    assert connected.connection.closing is CloseCode.SLOW_CONSUMER


async def test_its_timer_ends_with_the_socket(connected: Connected) -> None:
    connected.connection.close(CloseCode.OK)
    timer = connected.connection._abort_timer
    assert timer is not None
    connected.sent()
    connected.connection.release()
    assert timer.cancelled()


async def test_while_bytes_are_unsent_the_timer_stays_to_cut_the_socket(
    connected: Connected,
) -> None:
    connected.transport.takes = False
    connected.connection.close(CloseCode.OK)
    connected.connection.outbox._write_queued()
    timer = connected.connection._abort_timer
    assert timer is not None
    connected.connection.release()
    assert not timer.cancelled()
    timer.cancel()


async def test_one_that_was_never_closed_leaves_nothing_either(connected: Connected) -> None:
    connected.connection.send(b"{}")
    connected.connection.release()
    assert connected.sent() == []
