"""The command: it starts, serves, stops as told, and says what is wrong with how it was called."""

import asyncio
import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from jackfield_a2a.cli import main

COMMAND = Path(sys.executable).with_name("jackfield-a2a")


async def test_it_serves_until_it_is_told_to_stop(system: Any) -> None:
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *("--url", system.server.url, "--port", "0", "--token-env", "GATE"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "GATE": "gateway"},
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    address = re.search(r"are at (http://127\.0\.0\.1:\d+/)$", line)
    assert address is not None, line
    async with httpx.AsyncClient() as http:
        (agent,) = (await http.get(address[1])).json()["agents"]
    assert agent["card"] == f"{address[1]}agents/bot/.well-known/agent-card.json"
    process.send_signal(signal.SIGTERM)
    rest = (await process.stdout.read()).decode()
    await process.wait()
    assert process.returncode in (0, -signal.SIGTERM), rest
    assert "Traceback" not in rest


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--url", "http://127.0.0.1:8080"], "'http://127.0.0.1:8080' is not an address like ws:"),
        (["--url", "ws://[::1"], "is not an address"),
        (["--public-url", "example.com"], "'example.com' is not an address like http:"),
        (["--token-env", "UNSET_TOKEN"], "The variable UNSET_TOKEN is not set."),
        (["--connections", "0"], "--connections"),
        (["--port", "70000"], "--port"),
    ],
)
def test_it_says_what_is_wrong_with_its_options(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert words in re.sub(r"[\s│]+", " ", result.output)


def test_where_it_cannot_listen_it_says_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        taken = CliRunner().invoke(main, ["--port", port])
    assert taken.exit_code == 1
    assert taken.output == (
        f"Error: It can't listen on 127.0.0.1 port {port}: Address already in use.\n"
    )
    unknown = CliRunner().invoke(main, ["--host", "no.such.host.invalid"])
    assert unknown.exit_code == 1
    assert unknown.output == "Error: The host 'no.such.host.invalid' cannot be found.\n"
