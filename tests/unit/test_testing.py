"""A plugin's tests get a whole server on a free port, with the built-in plugins and theirs."""

from collections.abc import Mapping
from typing import Any

from jackfield.testing import run_server
from tests.support.candidates import plugin

Config = Mapping[str, Any]


async def test_a_server_runs_with_the_plugins_under_test(config: Config) -> None:
    async with run_server(plugin("chat"), config=config) as server, server.connect() as client:
        assert server.address.startswith("http://127.0.0.1:")
        assert server.url == server.address.replace("http", "ws", 1) + "/ws"
        assert await client.request("chat.send") == {"from": "chat"}
        loaded = {entry.candidate.distribution for entry in server.node.registry.loaded}
        assert loaded == {"jackfield", "under-test"}


async def test_two_run_side_by_side(config: Config) -> None:
    async with run_server(config=config) as one, run_server(config=config) as other:
        assert one.address != other.address
        assert one.node.id != other.node.id
