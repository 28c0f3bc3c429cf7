"""Clients that do not read: cut off within bounds, and nobody waits for them."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from marshmallow import Schema, fields

from jackfield import Context, Plugin
from jackfield.testing import RunningServer, run_server
from jackfield.wire.close_codes import CloseCode
from tests.support.waiting import PROMPT, promptly, wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]


class Size(Schema):
    size = fields.Integer(required=True)


large = Plugin("large")


@large.handler("large.get", Size)
async def get(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    return {"text": "x" * data["size"]}


@large.handler("large.stream", Size)
async def stream(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    while True:
        yield {"text": "x" * data["size"]}


@large.handler("large.noise", Size)
async def noise(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    while True:
        yield {"text": secrets.token_hex(data["size"])}


@asynccontextmanager
async def not_reading(server: RunningServer) -> AsyncIterator[Wire]:
    """A client whose receive buffer is small and never emptied."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", int(server.address.rpartition(":")[2])))
    sock.setblocking(False)
    wire = Wire(server, welcomed=True, sock=sock, close_timeout=0)
    async with wire:
        wire.socket.transport.pause_reading()
        yield wire


async def test_a_client_past_its_queue_is_cut_off(config: Config) -> None:
    limited = {**config, "limits": {"queue_bytes": 262_144, "reply_bytes": 131_072}}
    async with run_server(large, config=limited) as server, not_reading(server) as wire:
        (connection,) = server.node.hub
        # The kernel's buffers take some megabytes before the server's own has to.
        for number in range(200):
            await wire.send({"type": "large.get", "id": number, "payload": {"size": 100_000}})
        await wait_until(lambda: len(server.node.hub) == 0)
        assert connection.closing == 4003


async def test_a_client_that_takes_nothing_for_the_write_timeout_is_cut_off(
    config: Config,
) -> None:
    limited = {**config, "limits": {"write_timeout": "300ms"}}
    async with run_server(large, config=limited) as server, not_reading(server) as wire:
        (connection,) = server.node.hub
        await wire.send({"type": "large.stream", "id": 1, "payload": {"size": 50_000}})
        await wait_until(lambda: len(server.node.hub) == 0)
        assert connection.closing == 4003


async def test_what_waits_for_a_stalled_client_stays_within_its_limit(config: Config) -> None:
    async with run_server(large, config=config) as server, not_reading(server) as wire:
        (connection,) = server.node.hub
        await wire.send({"type": "large.stream", "id": 1, "payload": {"size": 50_000}})
        await wait_until(lambda: connection.outbox.unsent > 50_000)
        most = 0
        for _ in range(100):
            await asyncio.sleep(0)
            most = max(most, connection.outbox.unsent)
        assert most <= server.node.settings.limits.queue_bytes
        wire.socket.transport.abort()


async def test_a_stalled_client_never_delays_another(config: Config) -> None:
    patient = {**config, "limits": {"write_timeout": f"{6 * PROMPT}s"}}
    async with run_server(large, config=patient) as server, not_reading(server) as stalled:
        (connection,) = server.node.hub
        await stalled.send({"type": "large.stream", "id": 1, "payload": {"size": 50_000}})
        await wait_until(lambda: connection.outbox.unsent > 50_000)
        async with promptly(), Wire(server, welcomed=True) as wire:
            for number in range(100):
                assert (await wire.ask("session.ping", message_id=number))["type"] == "reply"
        assert connection.closing is None
        assert connection.outbox.unsent > 50_000
        stalled.socket.transport.abort()


async def test_a_stalled_compressed_client_is_cut_off_too(config: Config) -> None:
    limited = {
        **config,
        "server": {"compression": True},
        "limits": {"queue_bytes": 262_144, "reply_bytes": 131_072, "write_timeout": "300ms"},
    }
    async with run_server(large, config=limited) as server:
        async with Wire(server, welcomed=True, compression="deflate", close_timeout=0) as wire:
            (connection,) = server.node.hub
            wire.socket.transport.pause_reading()
            await wire.send({"type": "large.noise", "id": 1, "payload": {"size": 50_000}})
            await wait_until(lambda: len(server.node.hub) == 0)
            assert connection.closing == 4003


async def test_a_server_that_goes_does_not_wait_for_a_stalled_client(config: Config) -> None:
    patient = {**config, "limits": {"write_timeout": f"{6 * PROMPT}s"}}
    async with run_server(large, config=patient) as server, not_reading(server) as wire:
        (connection,) = server.node.hub
        await wire.send({"type": "large.stream", "id": 1, "payload": {"size": 50_000}})
        await wait_until(lambda: connection.outbox.unsent > 50_000)
        async with promptly():
            await server.node.hub.drain(6 * PROMPT)
            await wait_until(lambda: len(server.node.hub) == 0)
        assert connection.closing == CloseCode.SHUTDOWN


async def test_a_client_that_closes_without_reading_does_not_keep_its_socket(
    config: Config,
) -> None:
    async with run_server(large, config=config) as server, not_reading(server) as wire:
        (connection,) = server.node.hub
        await wire.send({"type": "large.stream", "id": 1, "payload": {"size": 50_000}})
        await wait_until(lambda: connection.outbox.unsent > 50_000)
        wire.socket.transport.write(b"\x88\x80\0\0\0\0")  # an empty close frame
        await wait_until(lambda: len(server.node.hub) == 0)
        await wait_until(lambda: connection.outbox.unsent == 0)
        assert connection.closing == CloseCode.OK
