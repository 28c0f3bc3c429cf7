"""Messages are handled in order, whatever waits; and pings, closes and floods are seen at once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import structlog
from aiohttp import WSMessage, WSMsgType

from jackfield import AnyPayload, Context, Plugin
from jackfield.connection.websocket import Socket
from jackfield.session.receiver import Receiver
from jackfield.telemetry.log import RateLimitedLog
from jackfield.wire import frames
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.protocol import JSON, MSGPACK, Codec
from tests.support.connected import Connected, error_of
from tests.support.routing import Routing, message, turns

CLOSED = WSMessage(WSMsgType.CLOSED, None, None)


class Incoming:
    """A socket on which the test says what comes."""

    def __init__(self) -> None:
        self._frames: asyncio.Queue[WSMessage] = asyncio.Queue()
        self.reads = 0

    async def receive(self) -> WSMessage:
        self.reads += 1
        return await self._frames.get()

    def send(self, kind: WSMsgType, data: Any = b"") -> None:
        self._frames.put_nowait(WSMessage(kind, data, None))

    def ask(self, message_type: str, message_id: int | None, **payload: Any) -> None:
        self.send(WSMsgType.TEXT, message(message_type, message_id, **payload))

    @property
    def unread(self) -> int:
        return self._frames.qsize()


class Served:
    """A receiver that runs, its client, and handlers that wait to be told."""

    def __init__(self, codec: Codec = JSON, **limits: Any) -> None:
        self.began: list[Any] = []
        self.gates: dict[Any, asyncio.Event] = {}
        self.routing = Routing(self._plugin(), limits=limits)
        self.incoming = Incoming()
        self.receiver = Receiver(
            cast(Socket, self.incoming),
            codec.opcode,
            self.routing.dispatcher,
            in_flight=self.routing.settings.limits.in_flight,
            log=RateLimitedLog(structlog.get_logger("jackfield")),
        )
        self.client = Connected(limits=limits, codec=codec, reader=self.receiver)
        self.connection = self.client.connection
        self.running = asyncio.create_task(self.receiver.run(self.connection))

    def _plugin(self) -> Plugin:
        plugin = Plugin("test")

        @plugin.handler("test.do", AnyPayload, timeout=3600)
        async def do(ctx: Context, data: Any) -> dict[str, Any]:
            self.began.append(ctx.id)
            if ctx.id in self.gates:
                await self.gates[ctx.id].wait()
            return {}

        plugin.handler("test.beside", AnyPayload, timeout=3600, concurrent=True)(do)
        return plugin

    def hold(self, *ids: int) -> None:
        """Have the handlers of these messages wait."""
        for each in ids:
            self.gates[each] = asyncio.Event()

    def is_reading(self) -> bool:
        return self.receiver.is_reading

    def slow(self) -> None:
        """Let so much time pass that what runs is slow."""
        self.routing.slow_requests._check()

    def answers(self) -> list[tuple[str, Any]]:
        return [(each["type"], each["id"]) for each in self.client.sent()]

    async def stop(self) -> None:
        if not self.running.done():
            self.running.cancel()
        await asyncio.wait([self.running])
        for request in list(self.connection.requests.values()):
            if request.task is not None:
                request.task.cancel()
                await asyncio.wait([request.task])
        self.client.close()
        self.routing.close()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served(in_flight=4, requests_per_second=100)
    yield made
    await made.stop()


async def test_messages_are_handled_in_their_order(served: Served) -> None:
    for number in range(5):
        served.incoming.ask("test.do", number)
    await turns(8)
    assert served.answers() == [("reply", number) for number in range(5)]


async def test_the_end_of_the_socket_ends_it(served: Served) -> None:
    served.incoming.send(WSMsgType.CLOSE, 1000)
    await served.running
    assert served.receiver.ended_by is not None
    assert served.receiver.ended_by.data == 1000


async def test_a_frame_shows_that_the_client_is_alive(served: Served) -> None:
    served.connection.alive = False
    served.incoming.send(WSMsgType.PONG)
    await turns()
    assert [served.connection.alive] == [True]
    assert served.connection.control_frames == 1
    assert served.client.sent() == []


async def test_a_ping_is_answered_with_its_payload(served: Served) -> None:
    served.incoming.send(WSMsgType.PING, b"payload")
    await turns()
    assert served.client.sent() == [frames.frame(frames.PONG, b"payload")]


@pytest.mark.parametrize(("codec", "kind"), [(JSON, WSMsgType.BINARY), (MSGPACK, WSMsgType.TEXT)])
async def test_the_other_kind_of_frame_closes_the_connection(codec: Codec, kind: WSMsgType) -> None:
    served = Served(codec)
    served.incoming.send(kind, b"{}")
    await turns()
    assert served.connection.closing is CloseCode.UNSUPPORTED_DATA
    await served.stop()


async def test_text_that_is_not_utf8_closes_the_connection(served: Served) -> None:
    served.incoming.send(WSMsgType.TEXT, b'{"type":"\xff"}')
    await turns()
    assert served.connection.closing is CloseCode.INVALID_TEXT


async def test_nothing_is_handled_once_it_is_being_closed(served: Served) -> None:
    served.connection.close(CloseCode.OK)
    served.incoming.ask("test.do", 1)
    served.incoming.send(WSMsgType.CLOSE, 1000)
    await served.running
    assert served.began == []


async def test_concurrent_handlers_run_beside_each_other(served: Served) -> None:
    served.hold(1, 2)
    for number in (1, 2, 3):
        served.incoming.ask("test.beside", number)
    await turns(6)
    assert served.began == [1, 2, 3]
    assert served.answers() == [("reply", 3)]


async def test_what_is_started_begins_before_the_next_in_order(served: Served) -> None:
    served.incoming.ask("test.beside", 1)
    served.incoming.ask("test.beside", 2)
    served.incoming.ask("test.do", 3)
    await turns(6)
    assert served.began == [1, 2, 3]


async def test_a_slow_handler_keeps_nothing_from_being_read(served: Served) -> None:
    served.hold(1)
    served.incoming.ask("test.do", 1)
    await turns()
    assert not served.is_reading()
    served.incoming.send(WSMsgType.PING, b"!")
    await turns()
    assert served.client.sent() == []
    served.slow()
    await turns()
    assert served.is_reading()
    served.incoming.ask("test.beside", 2)
    await turns(6)
    assert served.client.sent()[0] == frames.frame(frames.PONG, b"!")
    assert served.began == [1, 2]


async def test_what_is_to_be_in_order_waits_and_then_goes_on_in_order(served: Served) -> None:
    served.hold(1, 2)
    served.incoming.ask("test.do", 1)
    await turns()
    served.slow()
    served.incoming.ask("test.do", 2)
    await turns()
    assert served.began == [1]
    served.gates[1].set()
    await turns(6)
    assert served.began == [1, 2]
    served.gates[2].set()
    served.incoming.ask("test.do", 3)
    await turns(8)
    assert served.answers() == [("reply", 1), ("reply", 2), ("reply", 3)]
    assert served.receiver._second_reader is None


async def test_at_a_full_queue_nobody_reads_until_there_is_room(served: Served) -> None:
    served.hold(1, 2)
    served.incoming.ask("test.do", 1)
    await turns()
    served.slow()
    for number in (2, 3, 4):  # two of them wait: half of what may be in flight
        served.incoming.ask("test.do", number)
    await turns(6)
    assert served.incoming.unread == 1
    assert not served.is_reading()
    served.gates[1].set()
    await turns(6)
    assert served.began == [1, 2]
    assert not served.is_reading()
    served.slow()  # the second of them is slow as well, and there is room for one by now
    await turns()
    assert served.incoming.unread == 0
    served.gates[2].set()
    await turns(8)
    assert served.began == [1, 2, 3, 4]


async def test_only_the_request_that_reading_waits_for_starts_a_second_reader(
    served: Served,
) -> None:
    served.hold(1, 2)
    served.incoming.ask("test.beside", 1)
    served.incoming.ask("test.do", 2)
    await turns(6)
    beside = served.connection.requests[1]
    served.receiver.keep_reading(beside)
    assert not served.is_reading()
    served.receiver.keep_reading(served.connection.requests[2])
    assert served.is_reading()
    second = served.receiver._second_reader
    served.receiver.keep_reading(served.connection.requests[2])
    assert served.receiver._second_reader is second


async def test_a_client_that_leaves_has_its_requests_stopped(served: Served) -> None:
    served.hold(1, 2)
    served.incoming.ask("test.do", 1)
    await turns()
    served.slow()
    served.incoming.ask("test.do", 2)
    served.incoming.send(WSMsgType.CLOSED)
    await served.running
    assert served.began == [1]
    assert served.connection.requests == {}
    assert served.receiver.ended_by is not None


async def test_a_fault_of_the_second_reader_is_not_lost(served: Served) -> None:
    served.hold(1)
    served.incoming.ask("test.do", 1)
    await turns()

    async def fail() -> WSMessage:
        raise RuntimeError("broken")

    served.incoming.receive = fail  # type: ignore[method-assign]
    served.slow()
    await turns()
    served.gates[1].set()
    with pytest.raises(RuntimeError, match="broken"):
        await served.running


async def test_past_its_rate_a_client_is_refused_and_past_twice_closed() -> None:
    served = Served(requests_per_second=8, in_flight=64)
    for number in range(40):
        served.incoming.ask("test.do", number)
    await served.running
    answers = served.client.sent()
    replies = [each for each in answers if isinstance(each, dict) and each["type"] == "reply"]
    refused = [each for each in answers if isinstance(each, dict) and each["type"] == "error"]
    assert (len(replies), len(refused)) == (8, 8)
    assert {error_of(each)["code"] for each in refused} == {"rate_limited"}
    assert [each["id"] for each in refused] == list(range(8, 16))
    assert served.connection.closing is CloseCode.TOO_MANY_REQUESTS
    assert served.incoming.unread == 40 - 8 - 9  # what else it has sent is not read
    await served.stop()


async def test_past_its_rate_nothing_but_the_end_counts() -> None:
    served = Served(requests_per_second=8)
    for number in range(8):
        served.incoming.ask("test.do", number)
    served.incoming.send(WSMsgType.PING, b"!")
    served.incoming.send(WSMsgType.TEXT, b"\xff")
    served.incoming.send(WSMsgType.TEXT, b"{}")
    served.incoming.send(WSMsgType.CLOSE, 1000)
    await served.running
    assert served.connection.closing is CloseCode.INVALID_TEXT
    assert frames.frame(frames.PONG, b"!") not in served.client.sent()
    await served.stop()


async def test_before_it_runs_frames_can_be_taken_one_by_one() -> None:
    incoming = Incoming()
    routing = Routing(Plugin("test"))
    receiver = Receiver(
        cast(Socket, incoming),
        frames.TEXT,
        routing.dispatcher,
        in_flight=1,
        log=cast(RateLimitedLog, None),
    )
    incoming.send(WSMsgType.TEXT, b"{}")
    assert (await receiver.receive()).data == b"{}"
    receiver.end(CLOSED)
    await receiver.run(Connected().connection)
    assert receiver.ended_by is CLOSED
    assert incoming.reads == 1
    routing.close()
