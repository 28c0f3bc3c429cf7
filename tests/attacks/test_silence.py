"""Thousands who connect and say nothing, or half of something, keep nobody else out."""

import contextlib
import resource
import socket
from functools import partial

from tests.attacks.victim import BEARABLE, Victim, attacked, while_attacked
from tests.support.waiting import wait_until

#: Each kind; as many as the machine lets a test have open, where that is less.
CROWD = 5000


def crowd() -> int:
    spare = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1000
    return CROWD if spare < 0 else min(CROWD, spare // 2)


def besiege(victim: Victim, count: int) -> list[socket.socket]:
    """So many who send half a head, and as many who send nothing."""
    sockets = []
    for _ in range(count):
        half = victim.connect()
        half.sendall(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        sockets += [half, victim.connect()]
    return sockets


def is_cut_off(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


async def test_half_open_heads_and_silent_sockets_hinder_no_honest_client(valkey_url: str) -> None:
    async with attacked(valkey_url, limits={"header_timeout": "2s"}) as victim:
        await victim.serves_the_honest(20)
        before = victim.resident_bytes()
        (sockets,) = await while_attacked(victim, [partial(besiege, victim, crowd())])
        await victim.serves_the_honest(20)
        assert await victim.metric("jackfield_waiting_clients") <= 5000
        assert victim.resident_bytes() - before < 2 * BEARABLE
        # Those who waited longest made room, and the others have only so much time.
        assert len(sockets) <= 5000 or is_cut_off(sockets[0])

        async def all_are_gone() -> bool:
            return await victim.metric("jackfield_waiting_clients") == 0

        await wait_until(all_are_gone, timeout=30)
        assert all(map(is_cut_off, sockets))
        for sock in sockets:
            sock.close()
        await victim.serves_the_honest()


async def test_a_head_that_comes_byte_by_byte_has_no_more_time_than_another(
    valkey_url: str,
) -> None:
    async with attacked(valkey_url, limits={"header_timeout": "500ms"}) as victim:

        def drip() -> int:
            sent = 0
            with victim.connect() as sock, contextlib.suppress(ConnectionError):
                sock.sendall(b"GET /ws HTTP/1.1\r\nX-Slow: ")
                sock.settimeout(0.02)
                while True:
                    sock.sendall(b"x")
                    sent += 1
                    with contextlib.suppress(TimeoutError):
                        if not sock.recv(1):
                            break
            return sent

        # Each byte takes a time to be sent, and it is the head as a whole that has a limit.
        assert all(sent < 1000 for sent in await while_attacked(victim, [drip] * 3))


async def test_heads_without_end_cost_the_server_nothing(valkey_url: str) -> None:
    async with attacked(valkey_url) as victim:
        await victim.serves_the_honest(20)
        before = victim.resident_bytes()

        def send_headers() -> None:
            with victim.connect() as sock, contextlib.suppress(ConnectionError):
                sock.sendall(b"GET /ws HTTP/1.1\r\n")
                while True:
                    sock.sendall(b"X-Header: " + b"x" * 5000 + b"\r\n")

        await while_attacked(victim, [send_headers] * 30)
        assert victim.resident_bytes() - before < BEARABLE
