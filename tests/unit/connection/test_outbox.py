"""The outbox: whole frames in order, one write per turn of the loop, and bounds that are kept."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from operator import methodcaller
from typing import Any

import pytest
import uvloop
from aiohttp import WSMsgType

from jackfield.connection.outbox import CompressedOutbox, Outbox
from jackfield.wire import frames

#: Seconds: only a test that fails ever waits this long.
PATIENCE = 10.0
#: Seconds that never pass in a test.
NEVER = 3600.0
LIMIT = 100_000
ROOM = 16 * 1024

on_both_loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[[Coroutine[Any, Any, None]], None]


class Recorder(asyncio.WriteTransport):
    """A transport that keeps what it is given until it is told that the client took it."""

    def __init__(self, waiting: int = 0) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.waiting = waiting
        self.closing = False
        #: Whether what is written goes straight on to the client, as a free socket lets it.
        self.free = False

    def write(self, data: Any) -> None:
        self.written.append(data)
        self.waiting += 0 if self.free else len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closing


class Recorded:
    """An outbox on a recorder, and what becomes of it."""

    def __init__(
        self,
        *,
        waiting: int = 0,
        compressor: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> None:
        self.transport = Recorder(waiting)
        self.stalls = 0
        self.drains: list[int] = []
        self.frames: list[tuple[WSMsgType, bytes]] = []
        self.compressor = compressor
        bounds: dict[str, Any] = {"limit": LIMIT, "timeout": NEVER, "on_stalled": self.stalled}
        self.outbox = (
            Outbox(self.transport, self.drain, **bounds)
            if compressor is None
            else CompressedOutbox(self.transport, self.drain, **bounds, send_frame=self.send_frame)
        )

    def stalled(self) -> None:
        self.stalls += 1

    async def drain(self) -> None:
        self.drains.append(len(self.transport.written))

    async def send_frame(self, payload: bytes, kind: WSMsgType) -> None:
        self.frames.append((kind, payload))
        assert self.compressor is not None
        await self.compressor(payload)

    def check(self) -> None:
        """Let the write timeout pass."""
        timer = self.outbox._check_timer
        assert timer is not None
        timer.cancel()
        self.outbox._check()

    @property
    def is_checked(self) -> bool:
        return self.outbox._check_timer is not None


async def turns(count: int = 3) -> None:
    """Give everything that is scheduled its turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def at_once(_: bytes) -> None:
    """A compressor that never waits."""


async def test_frames_of_one_turn_are_written_joined_and_in_order() -> None:
    recorded = Recorded()
    for frame in (b"one", b"two", b"three"):
        recorded.outbox.send(frame)
    assert recorded.transport.written == []
    await turns()
    assert recorded.transport.written == [b"onetwothree"]


async def test_the_next_turn_is_the_next_write() -> None:
    recorded = Recorded()
    recorded.outbox.send(b"one")
    await turns()
    recorded.outbox.send(b"two")
    await turns()
    assert recorded.transport.written == [b"one", b"two"]


async def test_a_lone_frame_is_not_copied() -> None:
    recorded, other = Recorded(), Recorded()
    frame = frames.frame(frames.TEXT, b"shared by all its receivers")
    recorded.outbox.send(frame)
    other.outbox.send(frame)
    await turns()
    assert recorded.transport.written[0] is other.transport.written[0] is frame


async def test_flush_writes_now_and_nothing_twice() -> None:
    recorded = Recorded()
    recorded.outbox.send(b"one")
    recorded.outbox._write_queued()
    assert recorded.transport.written == [b"one"]
    recorded.outbox.send(b"two")
    recorded.outbox._write_queued()
    recorded.outbox._write_queued()
    await turns()
    assert recorded.transport.written == [b"one", b"two"]


async def test_a_flush_writes_in_this_turn() -> None:
    recorded = Recorded()
    recorded.outbox.send(b"one")
    flushing = recorded.outbox.flush()
    with pytest.raises(StopIteration):
        flushing.send(None)
    assert recorded.transport.written == [b"one"]


async def test_a_compressed_flush_waits_until_all_is_written() -> None:
    written = asyncio.Event()

    async def wait(_: bytes) -> None:
        await written.wait()

    recorded = Recorded(compressor=wait)
    await recorded.outbox.flush()  # there is nothing to wait for
    recorded.outbox.send(frames.frame(frames.TEXT, b"one"))
    flushing = asyncio.create_task(recorded.outbox.flush())
    await turns()
    assert (len(recorded.frames), flushing.done()) == (1, False)
    written.set()
    await asyncio.wait_for(flushing, PATIENCE)


async def test_unsent_counts_here_and_in_the_transport() -> None:
    recorded = Recorded(waiting=5)
    assert recorded.outbox.unsent == 5
    recorded.outbox.send(b"1234")
    assert recorded.outbox.unsent == 9
    await turns()
    assert recorded.outbox.unsent == 9
    recorded.transport.waiting = 2
    assert recorded.outbox.unsent == 2


@pytest.mark.parametrize("waiting", [0, 1, 60_000])
async def test_the_limit_itself_may_be_queued(waiting: int) -> None:
    recorded = Recorded(waiting=waiting)
    recorded.outbox.send(b"x" * (LIMIT - waiting))
    await turns()
    assert recorded.stalls == 0
    assert recorded.outbox.unsent == LIMIT


@pytest.mark.parametrize("waiting", [0, 1, 60_000, LIMIT])
async def test_a_byte_past_the_limit_cuts_the_client_off_and_writes_nothing(waiting: int) -> None:
    recorded = Recorded(waiting=waiting)
    recorded.outbox.send(b"x" * (LIMIT - waiting))
    recorded.outbox.send(b"x")
    await turns()
    assert recorded.stalls == 1
    assert recorded.transport.written == []


async def test_the_limit_holds_within_one_turn_as_well() -> None:
    recorded = Recorded()
    for _ in range(11):
        recorded.outbox.send(b"x" * 10_000)
    assert recorded.stalls == 1
    assert recorded.outbox.unsent == 0


@pytest.mark.parametrize("compressor", [None, at_once], ids=["plain", "compressed"])
async def test_a_client_is_cut_off_once(compressor: Any) -> None:
    recorded = Recorded(waiting=LIMIT + 1, compressor=compressor)
    for _ in range(30):
        recorded.outbox.send(b"x" * 10_000)
    await turns()
    recorded.outbox.send(b"late")
    recorded.outbox._write_queued()
    await turns()
    assert recorded.stalls == 1
    assert recorded.transport.written == []
    assert recorded.frames == []
    assert not recorded.is_checked


@pytest.mark.parametrize("compressor", [None, at_once], ids=["plain", "compressed"])
async def test_a_sealed_outbox_sends_what_it_has_and_takes_no_more(compressor: Any) -> None:
    recorded = Recorded(compressor=compressor)
    recorded.outbox.send(frames.close(1000))
    recorded.outbox.seal()
    recorded.outbox.send(frames.HEARTBEAT)
    await turns()
    if compressor is None:
        assert recorded.transport.written == [frames.close(1000)]
    else:
        assert recorded.frames == [(WSMsgType.CLOSE, b"\x03\xe8")]


@pytest.mark.parametrize("compressor", [None, at_once], ids=["plain", "compressed"])
async def test_a_discarded_outbox_sends_nothing(compressor: Any) -> None:
    recorded = Recorded(compressor=compressor)
    recorded.outbox.send(frames.HEARTBEAT)
    recorded.outbox.discard()
    recorded.outbox.send(frames.HEARTBEAT)
    await turns()
    assert recorded.transport.written == []
    assert recorded.frames == []
    assert recorded.outbox.unsent == 0


@pytest.mark.parametrize("compressor", [None, at_once], ids=["plain", "compressed"])
async def test_nothing_is_written_to_a_closing_transport(compressor: Any) -> None:
    recorded = Recorded(compressor=compressor)
    recorded.transport.closing = True
    recorded.outbox.send(frames.HEARTBEAT)
    await turns()
    assert recorded.transport.written == []
    assert recorded.frames == []
    assert recorded.outbox.unsent == 0
    assert not recorded.is_checked


async def test_a_stream_goes_on_while_little_is_unsent() -> None:
    recorded = Recorded()
    recorded.outbox.send(b"x" * (ROOM - 1))
    with pytest.raises(StopIteration):
        recorded.outbox.wait_for_room().send(None)
    assert recorded.drains == []


async def test_a_stream_waits_for_the_transport_once_a_write_is_full() -> None:
    recorded = Recorded()
    recorded.outbox.send(b"x" * ROOM)
    await recorded.outbox.wait_for_room()
    assert recorded.drains == [1]


@pytest.mark.parametrize("end", [Outbox.seal, Outbox.discard])
async def test_a_stream_is_told_that_there_is_no_room_any_more(
    end: Callable[[Outbox], None],
) -> None:
    recorded = Recorded()
    end(recorded.outbox)
    with pytest.raises(ConnectionError):
        await recorded.outbox.wait_for_room()


async def test_a_stream_is_told_of_a_connection_lost_while_it_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded = Recorded()

    async def lose() -> None:
        raise ConnectionResetError

    monkeypatch.setattr(recorded.outbox, "_drain", lose)
    recorded.outbox.send(b"x" * ROOM)
    with pytest.raises(ConnectionResetError):
        await recorded.outbox.wait_for_room()


async def test_a_client_that_takes_nothing_for_the_write_timeout_is_cut_off() -> None:
    recorded = Recorded(waiting=10)
    recorded.outbox.send(b"frame")
    await turns()
    recorded.check()
    assert recorded.stalls == 1
    assert not recorded.is_checked


async def test_what_is_written_meanwhile_is_not_taken() -> None:
    recorded = Recorded(waiting=10)
    for _ in range(10):
        recorded.outbox.send(b"frame")
        await turns()
    recorded.check()
    assert recorded.stalls == 1


async def test_a_client_that_takes_a_byte_per_write_timeout_stays() -> None:
    recorded = Recorded(waiting=10)
    for _ in range(20):
        recorded.outbox.send(b"frame")
        await turns()
        recorded.transport.waiting -= 1
        recorded.check()
    assert recorded.stalls == 0
    recorded.check()
    assert recorded.stalls == 1


async def test_a_client_that_has_taken_everything_is_left_alone() -> None:
    recorded = Recorded()
    recorded.outbox.send(b"frame")
    await turns()
    recorded.transport.waiting = 0
    recorded.check()
    assert recorded.stalls == 0
    assert not recorded.is_checked


async def test_a_client_has_the_whole_write_timeout_from_when_it_first_owes_something() -> None:
    recorded = Recorded()
    recorded.transport.free = True
    recorded.outbox.send(b"taken at once")
    await turns()
    recorded.transport.free = False
    recorded.outbox.send(b"just before the check")
    await turns()
    recorded.check()
    assert recorded.stalls == 0
    recorded.check()
    assert recorded.stalls == 1


async def test_a_discarded_outbox_checks_nothing_any_more() -> None:
    recorded = Recorded()
    recorded.outbox.send(b"frame")
    await turns()
    assert recorded.is_checked
    recorded.outbox.discard()
    assert not recorded.is_checked


async def test_compressed_frames_go_out_one_by_one_and_in_order() -> None:
    turn = asyncio.Semaphore(0)

    async def wait_for_turn(_: bytes) -> None:
        await turn.acquire()

    recorded = Recorded(compressor=wait_for_turn)
    recorded.outbox.send(frames.frame(frames.TEXT, b"one"))
    recorded.outbox.send(frames.frame(frames.BINARY, b"two" * 100))
    await turns()
    recorded.outbox.send(frames.frame(frames.PING, b"three"))
    await turns()
    expected = [
        (WSMsgType.TEXT, b"one"),
        (WSMsgType.BINARY, b"two" * 100),
        (WSMsgType.PING, b"three"),
    ]
    for count in (1, 2, 3):
        assert recorded.frames == expected[:count]
        turn.release()
        await turns()
    recorded.outbox.send(frames.frame(frames.TEXT, b"four"))
    await turns()
    assert recorded.frames == [*expected, (WSMsgType.TEXT, b"four")]


async def test_a_compressed_stream_waits_until_all_before_it_is_written() -> None:
    written = asyncio.Event()

    async def wait(_: bytes) -> None:
        await written.wait()

    recorded = Recorded(compressor=wait)
    recorded.outbox.send(frames.frame(frames.TEXT, b"one"))
    await turns()
    waiting = asyncio.create_task(recorded.outbox.wait_for_room())
    await turns()
    assert not waiting.done()
    written.set()
    await asyncio.wait_for(waiting, PATIENCE)


async def test_a_connection_lost_while_compressing_ends_quietly() -> None:
    async def lose(_: bytes) -> None:
        raise ConnectionResetError

    recorded = Recorded(compressor=lose)
    recorded.outbox.send(frames.HEARTBEAT)
    recorded.outbox.send(frames.HEARTBEAT)
    await turns()
    assert len(recorded.frames) == 1
    assert recorded.outbox.unsent == 0
    assert not recorded.is_checked


async def test_a_slow_client_that_takes_compressed_frames_stays() -> None:
    async def halve(payload: bytes) -> None:
        recorded.transport.write(payload[::2])

    recorded = Recorded(compressor=halve)
    recorded.outbox.send(frames.frame(frames.TEXT, b"x" * 60_000))
    await turns()
    for _ in range(20):
        recorded.transport.waiting -= 1_000
        recorded.check()
    assert recorded.stalls == 0
    recorded.check()
    assert recorded.stalls == 1


async def test_a_stalled_client_of_compressed_frames_is_cut_off_at_the_second_check() -> None:
    async def never(payload: bytes) -> None:
        recorded.transport.write(payload)
        await asyncio.Event().wait()

    recorded = Recorded(compressor=never)
    recorded.outbox.send(frames.frame(frames.TEXT, b"x" * 10_000))
    await turns()
    recorded.check()
    recorded.check()
    assert recorded.stalls == 1
    writer = recorded.outbox._writer  # type: ignore[attr-defined]  # of the compressed one
    writer.cancel()


@asynccontextmanager
async def pair(
    *, limit: int = 1 << 20, write_timeout: float = NEVER
) -> AsyncIterator[tuple[Outbox, asyncio.Transport, socket.socket, asyncio.Event]]:
    """An outbox on a real socket, its transport, the client's end, and whether it stalled."""
    stalled = asyncio.Event()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    async def drain() -> None:
        """Nothing here waits for room."""

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    outbox = Outbox(transport, drain, limit=limit, timeout=write_timeout, on_stalled=stalled.set)
    faults: list[Any] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    try:
        async with asyncio.timeout(PATIENCE):
            yield outbox, transport, theirs, stalled
    finally:
        outbox.discard()
        transport.abort()
        theirs.close()
        await turns()
    assert faults == []


async def read(client: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size and (more := await loop.sock_recv(client, 1 << 16)):
        data += more
    return data


@on_both_loops
def test_what_is_sent_arrives_whole_and_in_order(run: Run) -> None:
    async def main() -> None:
        async with pair() as (outbox, _, client, stalled):
            sent = b""
            for number in range(200):
                frame = frames.frame(frames.BINARY, number.to_bytes(2) * (number * 7))
                outbox.send(frame)
                sent += frame
                if number % 3 == 0:
                    await turns(1)
            assert await read(client, len(sent)) == sent
            await turns()
            assert outbox.unsent == 0
            assert not stalled.is_set()

    run(main())


@on_both_loops
def test_a_client_that_does_not_read_stalls_within_the_limit(run: Run) -> None:
    async def main() -> None:
        async with pair(limit=300_000) as (outbox, _, _, stalled):
            most = 0
            while not stalled.is_set():
                outbox.send(b"x" * 50_000)
                await turns(1)
                most = max(most, outbox.unsent)
            assert most <= 300_000

    run(main())


@on_both_loops
def test_a_client_that_takes_nothing_stalls_by_itself(run: Run) -> None:
    async def main() -> None:
        async with pair(limit=1 << 24, write_timeout=0.02) as (outbox, _, _, stalled):
            outbox.send(b"x" * (1 << 22))
            await stalled.wait()
            assert outbox.unsent

    run(main())


@on_both_loops
@pytest.mark.parametrize(
    "end", [methodcaller("close"), methodcaller("abort")], ids=["close", "abort"]
)
def test_sending_on_a_closed_connection_does_nothing(
    run: Run, end: Callable[[asyncio.Transport], None]
) -> None:
    async def main() -> None:
        async with pair() as (outbox, transport, client, stalled):
            end(transport)
            outbox.send(frames.HEARTBEAT)
            await turns()
            assert await read(client, 1) == b""
            outbox.send(frames.HEARTBEAT)
            await turns()
            assert not stalled.is_set()

    run(main())


@on_both_loops
def test_a_client_that_vanishes_is_no_fault(run: Run) -> None:
    async def main() -> None:
        async with pair() as (outbox, _, client, stalled):
            client.close()
            for _ in range(20):
                outbox.send(b"x" * 1_000)
                await turns(1)
            assert not stalled.is_set()

    run(main())


@on_both_loops
def test_what_was_queued_before_the_close_arrives(run: Run) -> None:
    async def main() -> None:
        async with pair() as (outbox, transport, client, _):
            outbox.send(frames.close(1000))
            outbox.seal()
            outbox._write_queued()
            transport.close()
            assert await read(client, 100) == frames.close(1000)

    run(main())


async def test_several_frames_that_were_joined_are_compressed_one_by_one() -> None:
    recorded = Recorded(compressor=at_once)
    each = [b"one", b"", b"three" * 100, b"4" * 70_000]
    recorded.outbox.send(b"".join(frames.frame(frames.TEXT, payload) for payload in each))
    recorded.outbox.send(frames.frame(frames.BINARY, b"last"))
    await turns()
    assert recorded.frames == [
        *((WSMsgType.TEXT, payload) for payload in each),
        (WSMsgType.BINARY, b"last"),
    ]
    assert recorded.outbox.unsent == 0
