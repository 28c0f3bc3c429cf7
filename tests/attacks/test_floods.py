"""Who floods the server is closed, at a bearable cost, and no honest client waits for it."""

import asyncio
import contextlib
import itertools
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from tests.attacks.victim import BEARABLE, Victim, attacked, while_attacked
from tests.support.raw import CONTINUATION, PING, PONG, TEXT, masked
from tests.support.waiting import wait_until

#: Who comes and goes at the same time.
CROWD: Final = 4
#: Bytes: whoever has sent so much should have been closed long ago.
FAR_TOO_MUCH: Final = 64 * 2**20

REQUEST: Final = b'{"type":"session.ping","id":1,"payload":{"text":"a message as others"}}'


def endless(*frames: bytes) -> Iterator[bytes]:
    """The same frames again and again, many at a time."""
    return itertools.repeat(b"".join(frames) * (65_536 // len(b"".join(frames)) + 1))


def in_tiny_fragments(size: int, payload: bytes) -> Iterator[bytes]:
    """A message that never ends."""
    yield masked(TEXT, payload[:size], fin=False)
    yield from endless(masked(CONTINUATION, payload[:size], fin=False))


def messages_of_tiny_fragments() -> Iterator[bytes]:
    """Messages of which every byte is a fragment."""
    first, *middle, last = (REQUEST[place : place + 1] for place in range(len(REQUEST)))
    yield from endless(
        masked(TEXT, first, fin=False),
        *(masked(CONTINUATION, byte, fin=False) for byte in middle),
        masked(CONTINUATION, last),
    )


def flood(victim: Victim, data: Iterable[bytes], *headers: str) -> int:
    """Send until the server has had enough.

    Args:
        victim: The server.
        data: What to send.
        *headers: Of the handshake, beside the usual ones.

    Returns:
        The code it closes with; 0 if it cuts the connection before that is read.
    """
    sent = 0
    received = bytearray()
    with victim.upgrade(*headers) as sock:
        sock.settimeout(30)
        try:
            for piece in data:
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while more := sock.recv(65_536):
                        received = (received + more)[-512:]
                if _close_code(received):
                    break
                sock.settimeout(30)
                sock.sendall(piece)
                sent += len(piece)
                assert sent < FAR_TOO_MUCH
        except ConnectionError:
            pass
        with contextlib.suppress(OSError):
            sock.settimeout(5)
            while more := sock.recv(65_536):
                received = (received + more)[-512:]
    return _close_code(received)


def _close_code(received: bytearray) -> int:
    """The code of the close frame that is the last of what was received."""
    place = received.rfind(b"\x88")
    if place < 0 or len(received) - place < 4 or received[place + 1] != len(received) - place - 2:
        return 0
    (code,) = struct.unpack_from("!H", received, place + 2)
    return int(code)


FLOODS: Final[dict[str, tuple[Callable[[], Iterable[bytes]], int]]] = {
    "pings": (lambda: endless(masked(PING, b"")), 4005),
    "long pings": (lambda: endless(masked(PING, b"x" * 125)), 4005),
    "pongs": (lambda: endless(masked(PONG, b"")), 4005),
    "requests": (lambda: endless(masked(TEXT, REQUEST)), 4005),
    "nonsense": (lambda: endless(masked(TEXT, b"nonsense")), 4005),
    "empty messages": (lambda: endless(masked(TEXT, b"")), 4005),
    "unknown types": (
        lambda: endless(masked(TEXT, b'{"type":"session.pong","id":"%b"}' % (b"x" * 64))),
        4005,
    ),
    "an endless message of nothing": (lambda: in_tiny_fragments(0, b""), 1009),
    "an endless message of single bytes": (lambda: in_tiny_fragments(1, b"["), 1009),
    "messages of single bytes": (messages_of_tiny_fragments, 4005),
}


async def test_floods_are_ended_and_the_honest_are_served_meanwhile(valkey_url: str) -> None:
    async with attacked(valkey_url) as victim:
        await victim.serves_the_honest(20)
        before = victim.resident_bytes()
        ends = await while_attacked(
            victim, (partial(flood, victim, make()) for make, _ in FLOODS.values())
        )
        for (name, (_, code)), end in zip(FLOODS.items(), ends, strict=True):
            # Whoever goes on sending may be cut off before the code has reached it.
            assert end in {code, 0}, name
        assert victim.resident_bytes() - before < BEARABLE
        await wait_until(lambda: _alone(victim))


async def _alone(victim: Victim) -> bool:
    return await victim.metric("jackfield_connections") == 0


async def test_who_comes_again_and_again_is_served_and_sent_away_each_time(
    valkey_url: str,
) -> None:
    async with attacked(valkey_url, limits={"connections": 10}) as victim:

        def come_and_go() -> None:
            for _ in range(100):
                victim.connect().close()

        def upgrade_and_go() -> None:
            for _ in range(50):
                with contextlib.suppress(OSError), victim.upgrade():
                    pass

        threads = (asyncio.to_thread(each) for each in (come_and_go, upgrade_and_go) * CROWD)
        await asyncio.gather(*threads)
        await wait_until(lambda: _alone(victim))
        await victim.serves_the_honest()
        assert await _alone(victim)
