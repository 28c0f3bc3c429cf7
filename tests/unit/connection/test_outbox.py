"""The outbox: whole frames in order, one write per turn of the loop, and bounds that are kept."""

import asyncio
from collections.abc import Callable
from operator import methodcaller
from typing import Any

import pytest
from aiohttp import WSMsgType

from jackfield.connection.outbox import Outbox
from jackfield.wire import frames
from tests.support.outbox_pairs import Run, on_both_loops, pair, read
from tests.support.outboxes import LIMIT, Recorded, at_once
from tests.support.routing import turns

ROOM = 16 * 1024


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
    recorded.outbox.send(b"x")
    recorded.outbox.send(b"x" * (LIMIT - waiting - 1))
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
    waiting = recorded.outbox.wait_for_room()
    assert waiting.send(None) is None  # until the next turn, and not for any time
    await turns()
    with pytest.raises(StopIteration):
        waiting.send(None)
    assert recorded.drains == [1]


@pytest.mark.parametrize("compressor", [None, at_once], ids=["plain", "compressed"])
@pytest.mark.parametrize("end", [Outbox.seal, Outbox.discard])
async def test_a_stream_is_told_that_there_is_no_room_any_more(
    end: Callable[[Outbox], None], compressor: Any
) -> None:
    recorded = Recorded(compressor=compressor)
    end(recorded.outbox)
    with pytest.raises(ConnectionError, match=r"^the connection is closed$"):
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
    timer = recorded.outbox._check_timer
    recorded.outbox.discard()
    assert timer is not None
    assert timer.cancelled()
    assert not recorded.is_checked


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
