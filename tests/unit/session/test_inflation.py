"""Little is inflated in a turn of the loop for all clients, and only what there is room for."""

import asyncio

import pytest

from jackfield.session.inflation import _FRAME, _PER_TURN, InflatingReader, Inflation
from jackfield.wire import frames
from jackfield.wire.deflate import COMPRESSED, Compressor, Deflate
from jackfield.wire.deflated_frames import DeflatedFrames
from tests.support.raw import PING, TEXT, masked

AGREED = Deflate(12, 12, server_takeover=False, client_takeover=False, tells_client_bits=True)
SIZE = 60_000


def bomb() -> bytes:
    """A small frame that opens to many bytes."""
    compressor = Compressor(AGREED)
    return masked(TEXT, compressor.add(bytes(SIZE)) + compressor.end(), rsv=COMPRESSED)


async def settle() -> None:
    """Give all that waits its turn."""
    for _ in range(100):
        await asyncio.sleep(0)


class Transport(asyncio.Transport):
    """Knows whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.closing = False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing


class Client:
    """A client of which the frames are inflated, and what aiohttp's reader would get."""

    def __init__(self, inflation: Inflation, *, room: int = 10**9) -> None:
        self.transport = Transport()
        self.got: list[bytes] = []
        self.ended = False
        self.room = room
        self.reader = InflatingReader(
            self, DeflatedFrames(AGREED, 65_536), inflation, self.transport
        )

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.got.append(data)
        self.room -= 1
        if not self.room:
            self.reader.stop()
        return False, b""

    def feed_eof(self) -> None:
        self.ended = True

    def is_read(self) -> bool:
        return self.transport.reading

    def make_room(self, count: int) -> None:
        self.room = count
        self.transport.resume_reading()
        self.reader.go_on()


async def test_no_more_is_inflated_in_a_turn_than_the_bound_whoever_sends_it() -> None:
    inflation = Inflation()
    clients = [Client(inflation) for _ in range(10)]
    for client in clients:
        client.reader.feed_data(bomb() * 30)
    seen, turns = 0, 0
    while (total := sum(sum(map(len, client.got)) for client in clients)) < 300 * SIZE:
        assert total - seen <= _PER_TURN + SIZE + 10
        seen, turns = total, turns + 1
        await asyncio.sleep(0)
    assert turns >= 300 * SIZE / (_PER_TURN + SIZE)
    await settle()
    assert all(client.is_read() for client in clients)
    assert all(len(client.got) == 30 for client in clients)


async def test_those_who_wait_take_turns() -> None:
    inflation = Inflation()
    greedy, late = Client(inflation), Client(inflation)
    greedy.reader.feed_data(bomb() * 100)
    late.reader.feed_data(bomb())
    assert late.got == []
    for _ in range(2):
        await asyncio.sleep(0)
    assert len(late.got) == 1
    assert len(greedy.got) < 100


async def test_no_more_is_read_while_something_waits() -> None:
    client = Client(Inflation())
    client.reader.feed_data(bomb() * 10)
    assert not client.is_read()
    client.transport.resume_reading()  # whoever does, it is read no more than once
    client.reader.feed_data(masked(PING, b"last"))
    assert not client.is_read()
    await settle()
    assert client.is_read()
    assert client.got[-1] == masked(PING, b"last")


async def test_nothing_is_inflated_while_the_queue_is_full() -> None:
    client = Client(Inflation(), room=2)
    client.reader.feed_data(bomb() * 3)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(client.got) == 2
    assert not client.is_read()
    client.make_room(5)
    assert not client.is_read()
    await asyncio.sleep(0)
    assert len(client.got) == 3
    assert client.is_read()


async def test_a_queue_that_fills_and_empties_while_it_waits_loses_nothing() -> None:
    inflation = Inflation()
    client = Client(inflation)
    client.reader.feed_data(bomb() * 10)
    client.reader.stop()
    await asyncio.sleep(0)
    before = len(client.got)
    client.make_room(100)
    client.make_room(100)
    await settle()
    assert before < 10
    assert client.got == [frames.frame(frames.TEXT, bytes(SIZE))] * 10


async def test_empty_frames_are_bounded_as_well() -> None:
    client = Client(Inflation())
    client.reader.feed_data(masked(PING, b"") * 5_000)
    assert len(client.got) <= _PER_TURN // _FRAME + 1
    await settle()
    assert len(client.got) == 5_000


@pytest.mark.parametrize("closing", [False, True])
async def test_what_waits_at_the_end_is_dropped(*, closing: bool) -> None:
    client = Client(Inflation())
    client.reader.feed_data(bomb() * 10)
    client.transport.closing = closing
    client.reader.feed_eof()
    assert client.ended
    before = len(client.got)
    await asyncio.sleep(0)
    assert len(client.got) == before
