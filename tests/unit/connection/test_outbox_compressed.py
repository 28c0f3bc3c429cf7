"""The outbox of a client that compresses: its messages in order, control frames as they are."""

import asyncio
import random
from typing import Any

import pytest

from jackfield.connection.outbox import CompressedOutbox, LoopTurn, Outbox
from jackfield.wire import frames
from jackfield.wire.deflate import COMPRESSED, Compressor, Inflater
from tests.support.outboxes import AGREED, NEVER, Recorded
from tests.support.routing import turns
from tests.support.waiting import PROMPT

#: Bytes that can't be compressed.
NOISE = random.Random(1).randbytes(60_000)


def received(recorded: Recorded) -> list[tuple[int, bytes]]:
    """What a client makes of what was written: opcodes and payloads, inflated in order."""
    inflater, messages = Inflater(AGREED._replace(client_bits=AGREED.server_bits), 2**20), []
    whole = b"".join(recorded.transport.written)
    at = 0
    while at < len(whole):
        first, rest = whole[at], whole[at:]
        ((opcode, payload), *_) = frames.split(rest)
        at += len(frames.frame(opcode, payload))
        assert bool(first & COMPRESSED) is (opcode < frames.CLOSE)
        if first & COMPRESSED:
            payload = inflater.add(payload) + inflater.end()
        messages.append((opcode, payload))
    return messages


async def test_messages_are_compressed_in_order_and_control_frames_as_they_are() -> None:
    recorded = Recorded(compressed=True)
    sent = [
        (frames.TEXT, b"one" * 100),
        (frames.BINARY, b"two" * 100),
        (frames.PING, b"three"),
        (frames.TEXT, NOISE),
        (frames.TEXT, b"one" * 100),
    ]
    for opcode, payload in sent:
        recorded.outbox.send(frames.frame(opcode, payload))
    await recorded.outbox.flush()
    assert received(recorded) == sent
    assert sum(map(len, recorded.transport.written)) < len(NOISE) + 1_000
    recorded.outbox.send(frames.frame(frames.TEXT, b"late"))
    await turns()
    assert received(recorded) == [*sent, (frames.TEXT, b"late")]
    assert recorded.outbox.unsent == sum(map(len, recorded.transport.written))


async def test_several_frames_that_were_joined_are_compressed_one_by_one() -> None:
    recorded = Recorded(compressed=True)
    each = [b"one", b"", b"three" * 100, NOISE]
    recorded.outbox.send(b"".join(frames.frame(frames.TEXT, payload) for payload in each))
    recorded.outbox.send(frames.frame(frames.BINARY, b"last"))
    await recorded.outbox.flush()
    assert received(recorded) == [
        *((frames.TEXT, payload) for payload in each),
        (frames.BINARY, b"last"),
    ]


async def test_a_large_message_lets_others_run_while_it_is_compressed() -> None:
    recorded = Recorded(compressed=True)
    recorded.outbox.send(frames.frame(frames.TEXT, NOISE))
    recorded.outbox._write_queued()
    seen = 0
    while not recorded.transport.written:
        seen += 1
        await asyncio.sleep(0)
    assert seen >= 3


async def test_a_stream_waits_until_all_before_it_is_written() -> None:
    recorded = Recorded(compressed=True)
    recorded.outbox.send(frames.frame(frames.TEXT, NOISE))
    await asyncio.wait_for(recorded.outbox.wait_for_room(), PROMPT)
    assert received(recorded) == [(frames.TEXT, NOISE)]


async def test_a_compressed_stream_waits_for_nothing_where_nothing_was_sent() -> None:
    recorded = Recorded(compressed=True)
    with pytest.raises(StopIteration):
        recorded.outbox.wait_for_room().send(None)


@pytest.mark.parametrize("lost", ["before", "while draining"])
async def test_a_connection_lost_while_compressing_ends_quietly(
    monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    async def lose() -> None:
        raise ConnectionResetError

    recorded = Recorded(compressed=True)
    recorded.outbox.send(frames.frame(frames.TEXT, NOISE))
    recorded.outbox.send(frames.HEARTBEAT)
    recorded.outbox._write_queued()
    if lost == "before":
        recorded.transport.closing = True
    else:
        monkeypatch.setattr(recorded.outbox, "_drain", lose)
    await turns(10)
    assert len(recorded.transport.written) == (0 if lost == "before" else 1)
    assert recorded.outbox.unsent == recorded.transport.waiting
    assert not recorded.is_checked


async def test_a_slow_client_stays_and_a_stalled_one_is_cut_off() -> None:
    recorded = Recorded(compressed=True)
    recorded.transport.waiting = 10
    recorded.outbox.send(frames.frame(frames.TEXT, NOISE))
    await recorded.outbox.flush()
    for _ in range(20):
        recorded.transport.waiting -= 1_000
        recorded.check()
    assert recorded.stalls == 0
    recorded.check()
    assert recorded.stalls == 1


async def test_flush_with_nothing_queued_waits_for_nothing() -> None:
    with pytest.raises(StopIteration):
        Recorded(compressed=True).outbox.flush().send(None)


async def test_compressed_or_not_outboxes_share_the_turn_they_are_given() -> None:
    turn = LoopTurn()
    options: dict[str, Any] = {"limit": 1, "timeout": NEVER, "on_stalled": turns, "turn": turn}
    recorded = Recorded()
    plain = Outbox(recorded.transport, recorded.drain, **options)
    compressed = CompressedOutbox(
        recorded.transport, recorded.drain, **options, compressor=Compressor(AGREED)
    )
    assert plain.turn is compressed.turn is turn
    assert recorded.outbox.turn is not turn
