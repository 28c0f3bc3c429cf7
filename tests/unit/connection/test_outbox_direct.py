"""What is written straight to a socket keeps its order among what is queued, whoever reads how."""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from jackfield.connection.outbox import LoopTurn, Outbox, send_to_all
from jackfield.wire import frames
from tests.support import outbox_pairs
from tests.support.outbox_pairs import Run, on_both_loops, read

#: Outboxes that may write straight to their socket.
pair = partial(outbox_pairs.pair, limit=1 << 24, direct=True)


def send_now(outbox: Outbox, frame: bytes) -> None:
    send_to_all([outbox], frame)


def frame(number: int, size: int) -> bytes:
    return frames.frame(frames.BINARY, number.to_bytes(4) * (1 + size // 4))


@on_both_loops
@pytest.mark.parametrize("size", [10, 5_000, 300_000], ids=["small", "medium", "past-the-buffer"])
def test_frames_arrive_whole_and_in_order_however_they_are_sent(run: Run, size: int) -> None:
    async def main() -> None:
        choose = random.Random()
        async with pair() as (outbox, _, client, stalled):
            sent = b""
            ways: list[Callable[[bytes], None]] = [outbox.send, partial(send_now, outbox)]
            for number in range(40):
                made = frame(number, choose.randint(0, size))
                choose.choice(ways)(made)
                sent += made
                if choose.random() < 0.3:
                    await asyncio.sleep(0)
            assert await read(client, len(sent)) == sent
            assert not stalled.is_set()

    run(main())


@on_both_loops
def test_a_frame_is_there_at_once_if_nothing_waits_before_it(run: Run) -> None:
    async def main() -> None:
        async with pair() as (outbox, _, client, _):
            outbox.send(b"first")
            await asyncio.sleep(0)
            assert client.recv(100) == b"first"
            send_now(outbox, b"now")
            assert client.recv(100) == b"now"
            outbox.send(b"queued")
            send_now(outbox, b"behind it")
            with pytest.raises(BlockingIOError):
                client.recv(100)
            await asyncio.sleep(0)
            assert client.recv(100) == b"queuedbehind it"

    run(main())


@on_both_loops
def test_the_first_frame_overtakes_nothing_that_the_transport_may_hold(run: Run) -> None:
    async def main() -> None:
        async with pair() as (outbox, transport, client, _):
            filled = fill(transport.get_extra_info("socket").fileno())
            transport.write(b"of the upgrade, ")
            await asyncio.sleep(0)
            while filled:  # now the socket has room, which the transport has not seen
                filled -= len(client.recv(filled))
            send_now(outbox, b"the first frame")
            assert await read(client, 31) == b"of the upgrade, the first frame"

    run(main())


@on_both_loops
def test_one_after_the_other_is_there_at_once_and_nothing_is_checked(run: Run) -> None:
    async def main() -> None:
        async with pair() as (outbox, _, client, _):
            outbox.send(b"first")
            await asyncio.sleep(0)
            assert client.recv(100) == b"first"
            for number in range(3):
                send_now(outbox, b"number %d" % number)
                assert client.recv(100) == b"number %d" % number
            assert outbox._check_timer is None

    run(main())


@on_both_loops
def test_who_waits_keeps_no_other_from_having_it_at_once(run: Run) -> None:
    async def main() -> None:
        async with pair() as (fresh, _, late, _), pair() as (outbox, _, client, _):
            outbox.send(b"first")
            await asyncio.sleep(0)
            assert client.recv(100) == b"first"
            send_to_all([fresh, outbox], b"now")
            assert client.recv(100) == b"now"
            assert await read(late, 3) == b"now"

    run(main())


@on_both_loops
@pytest.mark.parametrize("way", [send_now, Outbox.send], ids=["now", "queued"])
def test_at_a_full_socket_nothing_is_lost(run: Run, way: Callable[[Outbox, bytes], None]) -> None:
    async def main() -> None:
        async with pair() as (outbox, transport, client, stalled):
            outbox.send(b"first")
            await asyncio.sleep(0)
            assert client.recv(100) == b"first"
            filled = fill(transport.get_extra_info("socket").fileno())
            way(outbox, b"behind it")
            await asyncio.sleep(0)
            assert outbox.unsent == len(b"behind it")
            received = await read(client, filled + len(b"behind it"))
            assert received == b"x" * filled + b"behind it"
            assert not stalled.is_set()

    run(main())


def fill(descriptor: int) -> int:
    """Fill a socket's buffer to the last byte; how many it took."""
    filled = 0
    for size in (65_536, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += os.write(descriptor, b"x" * size)
    return filled


@on_both_loops
def test_a_client_that_does_not_read_stalls_within_the_limit(run: Run) -> None:
    async def main() -> None:
        async with pair(limit=300_000) as (outbox, _, _, stalled):
            most = 0
            while not stalled.is_set():
                send_now(outbox, b"x" * 50_000)
                await asyncio.sleep(0)
                most = max(most, outbox.unsent)
            assert most <= 300_000

    run(main())


@on_both_loops
def test_nothing_is_written_once_it_is_sealed_discarded_or_closed(run: Run) -> None:
    async def main() -> None:
        async with pair() as (outbox, transport, client, stalled):
            outbox.send(b"first")
            await asyncio.sleep(0)
            outbox.seal()
            send_now(outbox, b"sealed")
            outbox.discard()
            send_now(outbox, b"discarded")
            transport.close()
            send_now(outbox, b"closed")
            await asyncio.sleep(0)
            assert await read(client, 100) == b"first"
            assert not stalled.is_set()

    run(main())


@on_both_loops
def test_nothing_is_written_to_a_descriptor_that_may_be_somebody_elses_by_now(run: Run) -> None:
    async def main() -> None:
        async with pair() as (outbox, transport, _, _):
            outbox.send(b"first")
            await asyncio.sleep(0)
            number = transport.get_extra_info("socket").fileno()
            transport.abort()
            while await asyncio.sleep(0, is_open(number)):
                send_now(outbox, b"to the one that leaves")
            ours, theirs = socket.socketpair()
            with ours, theirs:
                assert number in (ours.fileno(), theirs.fileno())
                send_now(outbox, b"to nobody")
                outbox.send(b"to nobody")
                await asyncio.sleep(0)
                for end in (ours, theirs):
                    end.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        end.recv(100)

    run(main())


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@on_both_loops
def test_a_client_that_vanishes_is_no_fault(run: Run) -> None:
    async def main() -> None:
        async with pair() as (outbox, _, client, stalled):
            client.close()
            for _ in range(20):
                send_now(outbox, b"x" * 1_000)
                await asyncio.sleep(0)
            assert not stalled.is_set()

    run(main())


async def test_one_may_be_the_first_of_each_turn() -> None:
    turn = LoopTurn()
    for _ in range(3):
        assert [turn.take_first() for _ in range(3)] == [True, False, False]
        await asyncio.sleep(0)


async def test_one_that_fails_in_its_turn_keeps_no_other_from_it() -> None:
    turn, called, faults = LoopTurn(), list[str](), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))

    def fail() -> None:
        raise RuntimeError

    turn.call_soon(fail)
    turn.call_soon(lambda: called.append("the other"))
    await asyncio.sleep(0)
    assert called == ["the other"]
    ((message, exception),) = (fault.values() for fault in faults)
    assert (message, type(exception)) == ("a write failed", RuntimeError)
    assert set(faults[0]) == {"message", "exception"}
