"""The documentation's conversations and tests are real: they are held with a server, and run."""

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jackfield_chat import chat

from jackfield.testing import run_server
from tests.support import wait_until
from tests.wire import Wire

DOCS = Path(__file__).parents[2] / "docs"

_SAID = re.compile(r'^```json title="(client|server)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
#: What differs each time, and is made up on the page.
_MADE_UP = re.compile(r'(?<="connection":")[^"]+')


def _conversation(page: str) -> Iterator[tuple[str, str]]:
    """Who says what, message by message."""
    for speaker, text in _SAID.findall((DOCS / page).read_text("utf-8")):
        for line in text.splitlines():
            yield speaker, line


@pytest.mark.parametrize("page", ["guide/messages.md", "guide/errors.md"])
async def test_a_conversation_is_held_to_the_byte(page: str, config: Mapping[str, Any]) -> None:
    said = list(_conversation(page))
    assert said
    async with run_server(chat, config=config) as server, Wire(server) as wire:
        welcome = await wire.receive_text()
        expected: list[str] = []
        received: list[str] = []
        for speaker, text in said:
            if speaker == "client":
                await wire.send_text(text)
            else:
                first = not expected and '"welcome"' in text
                expected.append(_MADE_UP.sub("...", text))
                received.append(
                    _MADE_UP.sub("...", welcome if first else await wire.receive_text())
                )
        assert received == expected


async def test_every_metric_is_explained(config: Mapping[str, Any]) -> None:
    page = (DOCS / "operations" / "running.md").read_text("utf-8")
    async with run_server(chat, config=config) as server, server.connect() as client:
        await client.request("session.ping")
        async with server_get(f"{server.address}/metrics") as text:
            names = set(re.findall(r"^(\w+?)(?:\{.*)? ", text, re.MULTILINE))
    assert names
