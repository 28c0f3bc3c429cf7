"""The outbox with permessage-deflate: aiohttp compresses, one frame at a time, and bounds hold."""

import asyncio
from typing import Any

from aiohttp import WSMsgType

from jackfield.connection.outbox import CompressedOutbox, LoopTurn, Outbox
from jackfield.wire import frames
from tests.support.outboxes import NEVER, Recorded
from tests.support.routing import turns
from tests.support.waiting import PROMPT


async def test_a_compressed_flush_waits_until_all_is_written() -> None:
    written = asyncio.Event()

    async def wait(_: bytes) -> None:
        await written.wait()

    recorded = Recorded(compressor=wait)
    await recorded.outbox.flush()  # there is nothing to wait for

    async def send_and_flush() -> None:
        recorded.outbox.send(frames.frame(frames.TEXT, b"one"))
        await recorded.outbox.flush()

    flushing = asyncio.create_task(send_and_flush())
    await turns()
    assert (len(recorded.frames), flushing.done()) == (1, False)
    written.set()
    await asyncio.wait_for(flushing, PROMPT)


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
    await asyncio.wait_for(waiting, PROMPT)


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


async def test_compressed_or_not_outboxes_share_the_turn_they_are_given() -> None:
    turn = LoopTurn()
    options: dict[str, Any] = {"limit": 1, "timeout": NEVER, "on_stalled": turns, "turn": turn}
    recorded = Recorded()
    plain = Outbox(recorded.transport, recorded.drain, **options)
    compressed = CompressedOutbox(
        recorded.transport, recorded.drain, **options, send_frame=recorded.send_frame
    )
    assert plain.turn is compressed.turn is turn
    assert recorded.outbox.turn is not turn
