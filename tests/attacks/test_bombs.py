"""Messages that grow without end, or when they are opened, take no more memory than they may."""

import functools
import itertools
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from tests.attacks.test_floods import flood
from tests.attacks.victim import BEARABLE, attacked, while_attacked
from tests.support.raw import CONTINUATION, TEXT, masked

GIB: Final = 2**30
PIECE: Final = 16_384
#: First bits of a frame that begins a compressed message (RFC 7692, section 6).
COMPRESSED: Final = 0x40

DEFLATE: Final = "Sec-WebSocket-Extensions: permessage-deflate"


def brackets() -> Iterator[bytes]:
    """A GiB of opening brackets, in one message."""
    yield masked(TEXT, b"[" * PIECE, fin=False)
    yield from itertools.repeat(masked(CONTINUATION, b"[" * PIECE, fin=False), GIB // PIECE - 2)
    yield masked(CONTINUATION, b"[" * PIECE)


def announced() -> Iterator[bytes]:
    """A GiB of opening brackets, in one frame that says so."""
    yield bytes([0x81, 0xFF]) + GIB.to_bytes(8) + bytes(4)
    yield from itertools.repeat(b"[" * PIECE, GIB // PIECE)


@functools.cache
def deflated(size: int) -> bytes:
    """That many brackets, compressed as RFC 7692 has it."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    chunks = [compressor.compress(b"[" * min(size, 2**20)) for _ in range(max(1, size // 2**20))]
    chunks.append(compressor.flush(zlib.Z_SYNC_FLUSH))
    return b"".join(chunks).removesuffix(b"\0\0\xff\xff")


def bomb() -> Iterator[bytes]:
    """16 MiB in a single frame of 16 KiB."""
    yield masked(TEXT, deflated(2**24), rsv=COMPRESSED)


def bomb_in_pieces() -> Iterator[bytes]:
    """The same in frames."""
    whole = deflated(2**24)
    yield masked(TEXT, whole[:100], fin=False, rsv=COMPRESSED)
    for start in range(100, len(whole), 100):
        yield masked(CONTINUATION, whole[start : start + 100], fin=False)
    yield masked(CONTINUATION, b"")


BOMBS: Final[list[Callable[[], Iterator[bytes]]]] = [brackets, announced, bomb, bomb_in_pieces]


async def test_what_is_larger_than_a_message_may_be_is_never_held(valkey_url: str) -> None:
    async with attacked(valkey_url, server={"compression": True}) as victim:
        await victim.serves_the_honest(20)
        before = victim.resident_bytes()
        deflated(2**24)  # once, and not in each thread
        attacks = (partial(flood, victim, make(), DEFLATE) for make in BOMBS * 3)
        # Whoever goes on sending may be cut off before the code has reached it.
        assert {*await while_attacked(victim, attacks)} <= {0, 1009}
        assert victim.resident_bytes() - before < BEARABLE


async def test_small_bombs_are_as_many_messages_and_no_more(valkey_url: str) -> None:
    limits = {"requests_per_second": 200}
    async with attacked(valkey_url, server={"compression": True}, limits=limits) as victim:
        await victim.serves_the_honest(20)
        before = victim.resident_bytes()
        # Each opens to what a message may just be, a thousand times its size.
        small = itertools.repeat(masked(TEXT, deflated(65_000), rsv=COMPRESSED) * 100)
        ends = await while_attacked(victim, [partial(flood, victim, small, DEFLATE)] * 4)
        assert {*ends} <= {0, 4005}
        assert victim.resident_bytes() - before < BEARABLE
