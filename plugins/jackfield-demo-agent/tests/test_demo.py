"""The demo as `make run` starts it: on whatever port the server is given, or not at all."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jackfield import Plugin, Runtime
from jackfield.client import Client, connect
from jackfield.testing import run_server
from tests.support.waiting import wait_until

CONFIG = Path(__file__).parents[3] / "config" / "demo.toml"
COMMAND = Path(sys.executable).with_name("jackfield")


async def start(port: int) -> asyncio.subprocess.Process:
    """`make run` with another port than that of the configuration."""
    return await asyncio.create_subprocess_exec(
        *(COMMAND, "serve", "--config", CONFIG),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "JACKFIELD__SERVER__PORT": str(port)},
    )


@asynccontextmanager
async def serving() -> AsyncIterator[Client]:
    server = await start(0)
    assert server.stdout is not None
    try:
        address = (await server.stdout.readline()).decode().split()[-1]
        async with connect(address.replace("http", "ws", 1) + "/ws") as client:
            yield client
    finally:
        server.terminate()
        await server.communicate()
    assert server.returncode == 0


async def agents(client: Client) -> list[str]:
    return [agent["name"] for agent in (await client.request("agent.list"))["agents"]]


async def test_the_agent_is_at_whatever_port_the_server_is_given() -> None:
    async with serving() as client:
        await wait_until(lambda: agents(client))
        assert await agents(client) == ["demo"]


async def test_a_port_that_is_taken_is_one_clear_error_and_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = await start(port)
        out, err = await server.communicate()
        assert server.returncode == 1
        (line,) = err.decode().splitlines()
        assert line.startswith(f"Port {port} of 127.0.0.1 is in use: ")
        assert "JACKFIELD__SERVER__PORT" in line
        assert out == b""
        # Nor has the agent gone to whoever listens there.
        taken.setblocking(False)  # noqa: FBT003 - the interface of sockets
        with pytest.raises(BlockingIOError):
            taken.accept()


async def told(host: str) -> tuple[str, int]:
    """What a plugin is told of where the server listens, and its port."""
    plugin = Plugin("plugin")
    found: list[str] = []

    @plugin.lifespan
    async def listen(runtime: Runtime) -> AsyncIterator[None]:
        async def wait() -> None:
            found.append(await runtime.listening())

        # It may wait twice, and a wait that is given up harms no other.
        given_up, waiting = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        given_up.cancel()
        assert found == []
        yield
        await waiting

    async with run_server(plugin, config={"server": {"host": host}}) as server:
        port = int(server.url.removesuffix("/ws").rpartition(":")[2])
    (address,) = found
    return address, port


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "ws://127.0.0.1:{}/ws"),
        ("::1", "ws://[::1]:{}/ws"),
    ],
)
async def test_a_plugin_learns_where_the_server_listens(host: str, address: str) -> None:
    found, port = await told(host)
    assert found == address.format(port)


async def test_an_address_of_all_interfaces_is_told_as_one_to_connect_to() -> None:
    plugin = Plugin("plugin")
    config = {
        "server": {"host": "0.0.0.0"},
        "auth": {"anonymous": True, "anonymous_on_any_address": True},
    }
    async with run_server(plugin, config=config) as server:
        address = await server.node.runtimes["plugin"].listening()
        assert address.startswith("ws://127.0.0.1:")
        async with connect(address) as client:
            assert await client.request("session.ping", {}) == {}
