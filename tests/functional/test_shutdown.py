"""How a server goes: told to, with everyone sent home; or killed, with nothing left behind."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from websockets.exceptions import ConnectionClosed as WireClosed

from jackfield import Context, Plugin
from jackfield.client import ConnectionClosed, connect
from jackfield.testing import run_server
from tests.support.waiting import wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]

STUCK = """
import time
from jackfield import Plugin

stuck = Plugin("stuck")

@stuck.handler("stuck.sleep")
def sleep(ctx, data):
    print("sleeping", flush=True)
    time.sleep(600)
"""


def install(folder: Path, name: str, source: str) -> None:
    """Lay a plugin's distribution out in a folder, as an installer would."""
    (folder / f"{name}.py").write_text(source)
    info = folder / f"jackfield_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: jackfield-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[jackfield.plugins]\n{name} = {name}:{name}\n")


@asynccontextmanager
async def serving(
    variables: Mapping[str, str], folder: Path | None = None
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`jackfield serve` in a process of its own, and the address of its WebSocket."""
    environ = {**os.environ, **variables}
    if folder is not None:
        environ["PYTHONPATH"] = str(folder)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jackfield", "serve", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environ,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        yield process, line.split()[-1].replace("http", "ws", 1) + "/ws"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_everyone_is_told_to_come_back_and_closed_with_4001(config: Config) -> None:
    async with run_server(config=config) as server:
        wire = Wire(server, welcomed=True)
        await wire.__aenter__()
    goodbye = await wire.receive()
    after = goodbye["payload"].pop("after")
    assert 0 <= after <= 5
    assert goodbye == {
        "type": "goodbye",
        "payload": {"code": 4001, "reason": "shutdown", "reconnect": True},
    }
    with pytest.raises(WireClosed):
        await wire.receive()
    assert await wire.closed() == (4001, "shutdown")


async def test_handlers_finish_streams_are_stopped_and_nothing_new_begins(
    config: Config,
) -> None:
    plugin = Plugin("work")
    go_on = asyncio.Event()

    @plugin.handler("work.finish", concurrent=True)
    async def finish(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        await go_on.wait()
        return {"finished": True}

    @plugin.handler("work.stream")
    async def stream(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        yield {}
        await asyncio.Event().wait()

    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        await wire.send({"type": "work.finish", "id": "finish"})
        await wire.send({"type": "work.stream", "id": "stream"})
        assert (await wire.receive())["type"] == "chunk"
        server.node.hub.draining = True
        draining = asyncio.create_task(server.node.hub.drain(10))
        assert (await wire.receive())["type"] == "goodbye"
        stopped = await wire.receive()
        assert (stopped["id"], stopped["error"]["code"]) == ("stream", "unavailable")
        assert (await wire.ask("session.ping"))["error"]["code"] == "unavailable"
        go_on.set()
        assert await wire.receive() == {
            "type": "reply",
            "id": "finish",
            "payload": {"finished": True},
        }
        assert (await wire.closed())[0] == 4001
        await draining


async def test_handlers_that_do_not_finish_by_the_deadline_are_stopped(config: Config) -> None:
    plugin = Plugin("work")

    @plugin.handler("work.for_ever")
    async def for_ever(ctx: Context, data: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        await wire.send({"type": "work.for_ever", "id": 1})
        await wait_until(lambda: any(connection.requests for connection in server.node.hub))
        draining = asyncio.create_task(server.node.hub.drain(0.1))
        assert (await wire.receive())["type"] == "goodbye"
        assert (await wire.receive())["error"]["code"] == "unavailable"
        assert (await wire.closed())[0] == 4001
        await draining


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_with_0_and_its_state_is_gone(
    valkey_url: str, number: signal.Signals
) -> None:
    prefix = f"test-{secrets.token_hex(6)}"
    variables = {"JACKFIELD__REDIS__URL": valkey_url, "JACKFIELD__REDIS__PREFIX": prefix}
    async with (
        Redis.from_url(valkey_url, protocol=2) as redis,
        serving(variables) as (process, url),
    ):
        async with connect(url) as client:
            await client.request("session.ping")
            assert await redis.keys(f"{prefix}:*conn:*")
            process.send_signal(number)
            closed = await client.wait_closed()
            assert (closed.code, closed.reconnect) == (4001, True)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
        # Topics outlive their members, and the set of nodes this one.
        left = [key for key in await redis.keys(f"{prefix}:*") if b":{t:" not in key]
        assert not [key for key in left if b"nodes" not in key]


async def test_a_thread_that_never_ends_holds_nothing_up_past_the_deadline(
    tmp_path: Path,
) -> None:
    install(tmp_path, "stuck", STUCK)
    async with serving({"JACKFIELD__DRAIN__DEADLINE": "2s"}, tmp_path) as (process, url):
        async with connect(url) as client:
            await client.send("stuck.sleep")
            assert process.stdout is not None
            assert (await process.stdout.readline()).strip() == b"sleeping"
            process.terminate()
            async with asyncio.timeout(20):
                assert await process.wait() == 0


async def test_a_killed_servers_connections_vanish_within_the_ttl(valkey_url: str) -> None:
    prefix = f"test-{secrets.token_hex(6)}"
    variables = {
        "JACKFIELD__REDIS__URL": valkey_url,
        "JACKFIELD__REDIS__PREFIX": prefix,
        "JACKFIELD__CONNECTIONS__HEARTBEAT": "500ms",
        "JACKFIELD__CONNECTIONS__TTL": "1s",
    }
    async with (
        Redis.from_url(valkey_url, protocol=2) as redis,
        serving(variables) as (process, url),
        connect(url) as client,
    ):
        (key,) = await redis.keys(f"{prefix}:*conn:*")
        assert 0 < await redis.pttl(key) <= 1000
        process.kill()
        with pytest.raises(ConnectionClosed):
            await client.request("session.ping")

        async def is_gone() -> bool:
            return not await redis.keys(f"{prefix}:*conn:*")

        await wait_until(is_gone)


async def test_another_node_reaps_what_a_killed_one_left(valkey_url: str, config: Config) -> None:
    quick = {**config, "connections": {"heartbeat": "200ms", "ttl": "500ms"}}
    variables = {
        "JACKFIELD__REDIS__URL": valkey_url,
        "JACKFIELD__REDIS__PREFIX": config["redis"]["prefix"],
        "JACKFIELD__CONNECTIONS__HEARTBEAT": "200ms",
        "JACKFIELD__CONNECTIONS__TTL": "500ms",
    }
    async with run_server(config=quick) as survivor, serving(variables) as (process, url):

        async def only_the_survivor_is_there() -> bool:
            async with Redis.from_url(valkey_url, protocol=2) as redis:
                keys = await redis.keys(f"{config['redis']['prefix']}:{{*")
                # But for topics, and the mark that the other one was taken for dead.
                keys = [key for key in keys if b":{t:" not in key and b":reaped" not in key]
                return all(survivor.node.id.encode() in key for key in keys)

        async with connect(url) as client:
            await client.request("session.ping")
            assert not await only_the_survivor_is_there()
            process.kill()
            await process.wait()
        await wait_until(only_the_survivor_is_there)


async def test_a_plugin_laid_out_as_a_distribution_is_found(tmp_path: Path) -> None:
    install(tmp_path, "stuck", STUCK)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jackfield", "plugins", "--json"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    output, _ = await process.communicate()
    (found,) = (plugin for plugin in json.loads(output) if plugin["name"] == "stuck")
    assert (found["distribution"], found["version"]) == ("jackfield-stuck", "1.0")
    assert found["state"] == "loaded"
