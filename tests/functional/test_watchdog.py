"""When a handler holds the event loop, the log says which one, for whom and where."""

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from aiohttp import ClientSession
from marshmallow import Schema, ValidationError, fields
from structlog.testing import capture_logs

from jackfield import Context, Plugin
from jackfield.testing import RunningServer, run_server
from tests.support.waiting import PROMPT, promptly, wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]


def reports(logs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What was reported of our own doing: a busy machine may hold the loop as well."""
    return [
        line
        for line in logs
        if line["event"] == "the event loop is blocked: every client waits"
        and "in hold_the_loop\n" in line["stack"]
    ]


def hold_the_loop() -> None:
    """Block until the watchdog must have seen it, and then some."""
    time.sleep(0.4)


def slow_to_validate(value: Any) -> None:
    hold_the_loop()
    raise ValidationError("no")


class Slow(Schema):
    value = fields.Integer(required=True, validate=slow_to_validate)


def blocking() -> Plugin:
    """A plugin that blocks wherever a plugin's code runs."""
    plugin = Plugin("heavy")

    @plugin.handler("heavy.compute")
    async def compute(ctx: Context, data: dict[str, Any]) -> None:
        hold_the_loop()

    @plugin.handler("heavy.later", concurrent=True)
    async def later(ctx: Context, data: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        hold_the_loop()

    @plugin.handler("heavy.validate", Slow)
    async def validate(ctx: Context, data: dict[str, Any]) -> None: ...

    @plugin.handler("heavy.thread")
    def thread(ctx: Context, data: dict[str, Any]) -> None:
        hold_the_loop()

    @plugin.on_disconnect
    async def leave(ctx: Context) -> None:
        if ctx.state.get("block"):
            hold_the_loop()

    @plugin.handler("heavy.block_at_the_end")
    async def prepare(ctx: Context, data: dict[str, Any]) -> None:
        await ctx.state.set(block=True)

    return plugin


def watched(config: Config) -> Config:
    return {**config, "server": {"blocked_after": "100ms"}}


async def metrics(server: RunningServer) -> dict[str, float]:
    async with ClientSession() as http, http.get(f"{server.address}/metrics") as response:
        lines = (await response.text()).splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


@pytest.mark.parametrize(
    ("message_type", "function"),
    [
        ("heavy.compute", "compute"),
        ("heavy.later", "later"),
        ("heavy.validate", "slow_to_validate"),
    ],
)
async def test_the_handler_that_blocks_is_named(
    config: Config, message_type: str, function: str
) -> None:
    async with run_server(blocking(), config=watched(config)) as server:
        async with Wire(server, welcomed=True) as wire:
            (connection,) = server.node.hub
            with capture_logs() as logs:
                await wire.ask(message_type, {"value": 1} if "validate" in message_type else {})
            (line,) = reports(logs)
            assert line["log_level"] == "warning"
            assert (line["plugin"], line["type"]) == ("heavy", message_type)
            assert line["connection"] == connection.id
            assert f"in {function}\n" in line["stack"]
        told = await metrics(server)
        assert told[f'jackfield_loop_blocked_total{{plugin="heavy",type="{message_type}"}}'] >= 1
        assert 0.1 < told["jackfield_loop_lag_seconds"] < 30


async def test_the_hook_that_blocks_is_named(config: Config) -> None:
    async with run_server(blocking(), config=watched(config)) as server:
        with capture_logs() as logs:
            async with Wire(server, welcomed=True) as wire:
                await wire.ask("heavy.block_at_the_end")
            await wait_until(lambda: reports(logs))
        (line,) = reports(logs)
        assert (line["plugin"], line["type"]) == ("heavy", None)
        assert line["connection"]


async def test_code_that_nobody_can_be_named_for_is_shown_all_the_same(config: Config) -> None:
    async with run_server(config=watched(config)) as server:
        with capture_logs() as logs:
            hold_the_loop()
            await wait_until(lambda: reports(logs))
        (line,) = reports(logs)
        assert (line["plugin"], line["type"], line["connection"]) == (None, None, None)
        assert server.node.watchdog.blocked["", ""] >= 1


async def test_a_thread_blocks_nobody_and_is_not_reported(config: Config) -> None:
    plugin = blocking()
    release = threading.Event()

    @plugin.handler("heavy.wait_in_thread")
    def wait(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        return {"released": release.wait(6 * PROMPT)}

    async with run_server(plugin, config=watched(config)) as server:
        async with Wire(server, welcomed=True) as wire, Wire(server, welcomed=True) as other:
            await wire.send({"type": "heavy.wait_in_thread", "id": 1})
            async with promptly():
                for number in range(100):
                    assert (await other.ask("session.ping", message_id=number))["type"] == "reply"
            release.set()
            assert (await wire.receive())["payload"] == {"released": True}
            assert (await wire.ask("heavy.thread"))["type"] == "reply"
        assert {name for _, name in server.node.watchdog.blocked if "thread" in name} == set()


async def test_nothing_is_watched_where_nobody_asks_for_it(config: Config) -> None:
    unwatched = {**config, "server": {"blocked_after": 0}}
    async with run_server(blocking(), config=unwatched) as server:
        async with Wire(server, welcomed=True) as wire:
            await wire.ask("heavy.compute")
        assert server.node.watchdog.blocked.total() == 0
