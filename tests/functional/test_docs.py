"""The documentation's conversations are held with a server, and its tests of a plugin are run."""

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from jackfield import Plugin
from jackfield.client import RequestError
from jackfield.testing import run_server
from jackfield_chat import chat
from tests.support.paths import DOCS
from tests.support.wire import Wire

_SAID = re.compile(
    r'^```json title="(client|server|ada|to ada|ben|to ben)"\n(.*?)^```$', re.MULTILINE | re.DOTALL
)
_FILE = re.compile(r'^```python title="(\w+)\.py"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What differs each time, and is made up on the page.
_MADE_UP = re.compile(r'(?<="connection":")[^"]+|(?<="epoch":")[^"]+|(?<="at":")[^"]+')


def _conversation(page: str) -> Iterator[tuple[str, list[str]]]:
    """Who says what, block by block."""
    for speaker, text in _SAID.findall((DOCS / page).read_text("utf-8")):
        yield speaker, text.splitlines()


class Page:
    """What is made up on a page, and what it is in truth: always the same."""

    def __init__(self) -> None:
        self._truth: dict[str, str] = {}

    def as_it_is(self, text: str) -> str:
        """A line of the page, with what the server knows it by."""
        return _MADE_UP.sub(lambda found: self._truth.get(found[0], found[0]), text)

    def learn(self, made_up: str, truth: str) -> None:
        """Hold a line of the page against what the server said, to the byte."""
        pairs = zip(_MADE_UP.findall(made_up), _MADE_UP.findall(truth), strict=False)
        for name, value in pairs:
            assert self._truth.setdefault(name, value) == value
        assert self.as_it_is(made_up) == truth


def _by_kind(lines: list[str]) -> list[str]:
    """Answers, then news: between the two there is no order."""
    return sorted(lines, key=lambda line: '"id":' not in line)


@pytest.mark.parametrize("page", ["guide/messages.md", "guide/errors.md", "guide/topics.md"])
async def test_a_conversation_is_true_to_the_byte(
    page: str, config: Mapping[str, Any], first_plugin: ModuleType, board: Plugin
) -> None:
    plugins = {"plugins": {"greeter": {"pause": "1h"}}}  # a chunk comes, and then no other
    said = list(_conversation(page))
    known = Page()
    async with (
        run_server(chat, first_plugin.greeter, board, config={**config, **plugins}) as server,
        Wire(server) as first,
        Wire(server) as second,
    ):
        wires = {"client": first, "server": first, "ada": first, "ben": second}
        welcomes = {wire: await wire.receive_text() for wire in (first, second)}
        answered = 0
        for speaker, lines in said:
            wire = wires[speaker.removeprefix("to ")]
            if speaker in ("client", "ada", "ben"):
                for line in lines:
                    await wire.send_text(known.as_it_is(line))
            elif '"welcome"' in lines[0]:
                known.learn(lines[0], welcomes[wire])
            else:
                came = [await wire.receive_text() for _ in lines]
                for line, truth in zip(_by_kind(lines), _by_kind(came), strict=True):
                    known.learn(line, truth)
                answered += len(lines)
        assert answered
        for wire in (first, second):
            answer = await wire.ask("session.ping")
            assert answer["type"] == "reply", "there was more than the page says"


async def test_every_built_in_message_type_is_explained_with_its_keys(
    config: Mapping[str, Any],
) -> None:
    agents_too = {**config, "auth": {"anonymous_scopes": ["agent"]}}
    async with run_server(config=agents_too) as server, server.connect() as client:
        described = (await client.request("session.describe"))["types"]
    page = (DOCS / "guide" / "messages.md").read_text("utf-8")
    section = page.partition("\n## Built-in message types\n")[2]
    rows = re.findall(r"^\| \[?`([\w.]+)`.*? \| (.*?) ?\|", section, re.MULTILINE)
    explained = {
        name: {key: not optional for key, optional in re.findall(r"`(\w+)(\?)?`", payload)}
        for name, payload in rows
    }
    assert len(explained) == len(rows)
    assert explained == {
        each["type"]: {
            key: key in each["payload"].get("required", ())
            for key in each["payload"].get("properties", ())
        }
        for each in described
    }


async def test_every_key_of_redis_is_explained(
    config: Mapping[str, Any], first_plugin: ModuleType, board: Plugin
) -> None:
    """Those of a connection with state, a topic with presence, an agent and a task that waits."""
    agents_too = {**config, "auth": {"anonymous_scopes": ["agent"]}}
    async with (
        run_server(first_plugin.greeter, board, config=agents_too) as server,
        server.connect() as agent,
        server.connect() as client,
        client.subscribe("board:lost"),
    ):
        await client.request("greeter.hello", {"name": "Ada"})
        await client.publish("board:lost", {"text": "A glove."}, key="once")
        await agent.request("agent.register", {"name": "idle", "skills": [{"id": "wait"}]})
        call = {"agent": "idle", "detach": True, "key": "once"}
        await anext(client.answers("agent.call", call))
        own = f"{config['redis']['prefix']}:*"
        keys = [str(key, "utf-8") for key in await server.node.redis.execute("KEYS", own)]
    page = (DOCS / "operations" / "running.md").read_text("utf-8")
    patterns = [
        _as_pattern(first, name)
        for row in re.findall(r"^\| (`<prefix>:.*?) \|", page, re.MULTILINE)
        for first, *others in [re.findall(r"`(.*?)`", row)]
        for name in (first, *others)
    ]
    assert len(keys) > 10
    for key in keys:
        assert any(pattern.fullmatch(key) for pattern in patterns), key


def _as_pattern(first: str, name: str) -> re.Pattern[str]:
    """The keys that the table means by a name; `:who` has the beginning of its row's first name."""
    if name.startswith(":"):
        name = re.sub(r"(?<=}):.*", "", first) + name
    return re.compile(re.sub(r"<\w+>", "[^{}]+", re.sub(r"[{}]", r"\\\g<0>", name)))


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
    labels = {
        re.split(r"[{ ]", line)[0]: set(re.findall(r'[{,](\w+)="', line))
        for line in lines
        if not line.startswith("#")
    }
    page = (DOCS / "operations" / "running.md").read_text("utf-8")
    rows = re.findall(r"^\| `(jackfield_\w+)` \| (.*?) ?\|", page, re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", named)) for name, named in rows} == labels


@pytest.fixture
def board() -> Plugin:
    """The plugin of the page about topics."""
    text = (DOCS / "plugins" / "topics.md").read_text("utf-8")
    module = ModuleType("board")
    exec("".join(_PYTHON.findall(text)), vars(module))
    plugin: Plugin = module.board
    return plugin


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


async def test_the_boards_do_what_their_page_says(config: Mapping[str, Any], board: Plugin) -> None:
    debug = {**config, "server": {"debug": True}}
    async with (
        run_server(board, config=debug) as server,
        Wire(server, welcomed=True) as wire,
        server.connect() as client,
    ):
        order = {"name": "lost", "text": "A glove.", "order": str(UUID(int=1))}
        for _ in range(2):
            assert await client.request("board.pin", order) == {"offset": 1}
        await client.request("board.clear")
        entered = (await wire.ask("board.enter", {"name": "lost"}))["payload"]
        assert entered["offset"] == 2
        assert [note["payload"] for note in entered["notes"]] == [
            {"text": "A glove."},
            {"text": "Cleared."},
        ]
        await client.publish("board:lost", {"text": "Another glove."})
        event = await wire.receive()
        assert event["payload"] == {"text": "Another glove.", "author": "somebody"}
        assert event["offset"] == entered["offset"] + 1
        (member,) = (await client.presence("board:lost")).members or []
        assert member["info"] == {"nick": "somebody"}

        for topic, payload, code in (
            ("board:staff", {"text": "x"}, "not_found"),
            ("board:rules", {"text": "x"}, "not_found"),
            ("board:lost", {"text": "http://"}, "board.no_links"),
            ("board:lost", {"text": "x", "author": "Ada"}, "invalid_payload"),
        ):
            with pytest.raises(RequestError) as refused:
                await client.publish(topic, payload)
            assert refused.value.code == code
        assert (await client.history("board:rules")).events == []
        with pytest.raises(RequestError):
            await client.history("board:staff")
