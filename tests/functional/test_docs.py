"""The documentation's conversations are held with a server, and its tests of a plugin are run."""

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest

from jackfield.testing import run_server
from jackfield_chat import chat
from tests.wire import Wire

DOCS = Path(__file__).parents[2] / "docs"

_SAID = re.compile(r'^```json title="(client|server)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_FILE = re.compile(r'^```python title="(\w+)\.py"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
#: What differs each time, and is made up on the page.
_MADE_UP = re.compile(r'(?<="connection":")[^"]+')


def _conversation(page: str) -> Iterator[tuple[str, str]]:
    """Who says what, message by message."""
    for speaker, text in _SAID.findall((DOCS / page).read_text("utf-8")):
        for line in text.splitlines():
            yield speaker, _MADE_UP.sub("...", line)


@pytest.mark.parametrize("page", ["guide/messages.md", "guide/errors.md"])
async def test_a_conversation_is_true_to_the_byte(page: str, config: Mapping[str, Any]) -> None:
    said = list(_conversation(page))
    async with run_server(chat, config=config) as server, Wire(server) as wire:
        welcome = _MADE_UP.sub("...", await wire.receive_text())
        answered = 0
        for speaker, text in said:
            if speaker == "client":
                await wire.send_text(text)
            elif '"welcome"' in text:
                assert text == welcome
            else:
                assert _MADE_UP.sub("...", await wire.receive_text()) == text
                answered += 1
        assert answered
        assert await wire.ask("session.ping"), "there was more than the page says"


async def test_every_metric_is_explained_and_no_other(config: Mapping[str, Any]) -> None:
    async with (
        run_server(config=config) as server,
        server.connect() as client,
        aiohttp.ClientSession() as http,
    ):
        await client.request("session.ping")
        await client.send("session.ping")
        await client.send("session.whoami", {"wrong": True})
        await client.request("session.ping")
        async with http.get(f"{server.address}/metrics") as response:
            lines = (await response.text()).splitlines()
    names = {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")}
    page = (DOCS / "operations" / "running.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(jackfield_\w+)` \|", page, re.MULTILINE)) == names


@pytest.fixture
def first_plugin(tmp_path: Path) -> Iterator[ModuleType]:
    """The tests of the first plugin's page, with the plugin as it is in the end."""
    files = dict(_FILE.findall((DOCS / "plugins" / "first-plugin.md").read_text("utf-8")))
    assert set(files) == {"greeter", "test_greeter"}
    modules = []
    try:
        for name, text in files.items():  # in this order: the tests import the plugin
            path = tmp_path / f"{name}.py"
            path.write_text(text, "utf-8")
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            modules.append(name)
            spec.loader.exec_module(module)
        yield module
    finally:
        for name in modules:
            del sys.modules[name]


async def test_the_first_plugins_tests_pass(first_plugin: ModuleType) -> None:
    tests = [name for name in vars(first_plugin) if name.startswith("test_")]
    assert tests
    for name in tests:
        await getattr(first_plugin, name)()
