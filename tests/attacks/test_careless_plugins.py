"""Whatever a plugin does, it is that plugin's messages alone that fail."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from jackfield import Context, Plugin
from jackfield.connection.request import Request
from jackfield.testing import run_server
from tests.attacks.careless import careless
from tests.attacks.victim import attacked
from tests.support.waiting import wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]

#: The module with the plugin, to be found by entry point.
PLUGIN = Path(__file__).parent / "careless.py"


@pytest.mark.parametrize(
    "how",
    [
        "fail",
        "fail_in_thread",
        "fail_in_stream",
        "exit",
        "exit_in_thread",
        "exit_in_schema",
        "await_cancelled",
        "recurse",
        "stop_iteration",
    ],
)
async def test_what_a_handler_raises_is_told_as_an_incident_and_the_connection_lives(
    config: Config, how: str
) -> None:
    async with run_server(careless, config=config) as server, Wire(server, welcomed=True) as wire:
        (connection,) = server.node.hub
        for _ in range(3):
            with capture_logs() as logs:
                payload = {"value": 1} if "schema" in how else {}
                error = (await wire.ask(f"careless.{how}", payload))["error"]
            assert error["code"] == "internal"
            (line,) = (line for line in logs if line.get("incident") == error["incident"])
            assert (line["plugin"], line["connection"]) == ("careless", connection.id)
        assert (await wire.ask("session.ping"))["type"] == "reply"


async def test_a_handler_that_will_not_be_cancelled_holds_up_its_own_client_only(
    config: Config,
) -> None:
    plugin = Plugin("stubborn")
    release = asyncio.Event()

    @plugin.handler("stubborn.wait", timeout="50ms")
    async def wait(ctx: Context, data: dict[str, Any]) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    async with run_server(plugin, config=config) as server:
        async with Wire(server, welcomed=True) as wire, Wire(server, welcomed=True) as other:
            await wire.send({"type": "stubborn.wait", "id": 1})
            await wait_until(lambda: any(each.requests for each in server.node.hub))
            (request,) = (r for each in server.node.hub for r in each.requests.values())
            assert isinstance(request, Request)
            await wait_until(lambda: request.stop_reason is not None)
            assert (await other.ask("session.ping"))["type"] == "reply"
            release.set()
            assert (await wire.receive())["error"]["code"] == "timeout"
            assert (await wire.ask("session.ping"))["type"] == "reply"


async def test_a_plugin_that_blocks_leaks_and_quits_leaves_a_server_that_serves(
    valkey_url: str,
) -> None:
    async with attacked(valkey_url, PLUGIN, server={"blocked_after": "100ms"}) as victim:
        async with victim.node.connect() as client:
            for how in ("leak", "leak"):
                assert await client.request(f"careless.{how}") == {}
            await client.request("careless.block")
            await victim.serves_the_honest()
        await wait_until(
            lambda: any(
                (line.get("plugin"), line.get("type")) == ("careless", "careless.block")
                for line in victim.node.log
            )
        )
        async with asyncio.timeout(10):
            assert await victim.node.terminate() == 0
