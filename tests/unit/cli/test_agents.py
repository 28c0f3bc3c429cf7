"""What `jackfield agents` promises, against a server whose every word the test speaks itself."""

import asyncio
import json
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from click.testing import CliRunner

from jackfield.cli import main
from tests.support.peer import Peer, Server, serve

Message = dict[str, Any]


def agent(name: str, *skills: str, **load: int) -> Message:
    described = [{"id": skill, "description": "", "idempotent": False} for skill in skills]
    known = {"instances": 1, "capacity": 4, "running": 0, "queued": 0}
    return {"name": name, "skills": described, **known, **load}


class Lists:
    """What a server answers to `agent.list`, one after another, the last one for ever."""

    def __init__(self, *lists: list[Message]) -> None:
        self.left = list(lists)
        self.asked = 0

    async def answer(self, peer: Peer, message: Message) -> None:
        assert message["type"] == "agent.list"
        self.asked += 1
        agents = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        await peer.send("reply", id=message["id"], payload={"agents": agents})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serve() as server:
        yield server


@asynccontextmanager
async def agents(
    server: Server, *arguments: str, stdout: int = asyncio.subprocess.PIPE, term: str = "dumb"
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command; at the end it is stopped."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jackfield", "agents", "--url", server.url, *arguments),
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", "TERM": term, "TOKEN": "t0k3n"},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def run(server: Server, *arguments: str) -> tuple[int | None, str, str]:
    async with agents(server, *arguments) as process:
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_agents_are_listed_once_where_nobody_watches(server: Server) -> None:
    lists = Lists(
        [
            agent("summariser", "summarise", "shorten", running=3, queued=2),
            agent("away", "sing", instances=0, capacity=0),
        ]
    )
    server.answer = lists.answer
    code, out, err = await run(server)
    assert (code, err, lists.asked) == (0, "", 1)
    rows = [line.split(maxsplit=1) for line in out.splitlines()]
    assert rows[0][0] == "Agent"
    assert [row[0] for row in rows[2:]] == ["away", "summariser"]
    assert re.split(r"\s{2,}", rows[3][1].strip()) == ["shorten, summarise", "1", "3 of 4", "2"]


async def test_no_agents_are_told_in_words(server: Server) -> None:
    server.answer = Lists([]).answer
    assert await run(server) == (0, "No agents are registered.\n", "")


async def test_all_pages_of_a_list_are_shown(server: Server) -> None:
    asked: list[Message] = []
    pages = [
        {"agents": [agent("a", "say"), agent("b", "say")], "next": "b"},
        {"agents": [agent("c", "say")]},
    ]

    async def answer(peer: Peer, message: Message) -> None:
        asked.append(message.get("payload", {}))
        await peer.send("reply", id=message["id"], payload=pages[len(asked) - 1])

    server.answer = answer
    code, out, _ = await run(server, "--once", "--json")
    assert code == 0
    assert [each["name"] for each in json.loads(out)] == ["a", "b", "c"]
    assert asked == [{}, {"after": "b"}]


async def test_json_is_what_the_server_says(server: Server) -> None:
    listed = [agent("summariser", "summarise")]
    server.answer = Lists(listed).answer
    code, out, _ = await run(server, "--once", "--json")
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == [listed]


async def test_to_watch_prints_a_line_for_each_change(server: Server) -> None:
    one, two = [agent("a", "x")], [agent("a", "x", running=1)]
    server.answer = Lists(one, one, two, two, one).answer
    async with agents(server, "--watch", "--json", "--interval", "10ms") as process:
        assert process.stdout is not None
        lines = [json.loads(await process.stdout.readline()) for _ in range(3)]
        assert lines == [one, two, one]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130


async def test_a_terminal_shows_what_changes_in_its_place(server: Server) -> None:
    server.answer = Lists([agent("first", "x")], [agent("second", "x")]).answer
    ours, theirs = pty.openpty()
    try:
        async with agents(server, "--interval", "10ms", stdout=theirs, term="xterm") as process:
            os.close(theirs)
            said = b""
            while b"second" not in said:
                said += await asyncio.to_thread(os.read, ours, 4096)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
    finally:
        os.close(ours)
    assert said.index(b"first") < said.index(b"second")
    assert b"\x1b[1A" in said  # it went up to write over the first


async def test_the_token_of_a_variable_is_sent(server: Server) -> None:
    server.answer = Lists([]).answer
    code, _, _ = await run(server, "--token-env", "TOKEN")
    assert code == 0
    assert server.accepted[0].headers["Authorization"] == "Bearer t0k3n"


async def test_names_cannot_steer_the_terminal(server: Server) -> None:
    server.answer = Lists([agent("a\x1b[2J", "x\n[red]y")]).answer
    _, out, _ = await run(server)
    assert "\x1b" not in out
    assert "x [red]y" in out


async def test_a_refusal_is_told_and_exits_with_1(server: Server) -> None:
    async def refuse(peer: Peer, message: Message) -> None:
        error = {"code": "forbidden", "message": "No.", "retryable": False, "scopes": ["ops"]}
        await peer.send("error", id=message["id"], error=error)

    server.answer = refuse
    assert await run(server) == (1, "", "forbidden: No.\n  It needs the scopes ops.\n")


async def test_a_lost_connection_exits_with_1(server: Server) -> None:
    async def cut(peer: Peer, _message: Message) -> None:
        peer.cut()

    server.answer = cut
    code, _, err = await run(server)
    assert code == 1
    assert err.startswith("The connection is closed: ")


async def test_a_server_that_is_not_there_exits_with_3(server: Server) -> None:
    server.url = "ws://[::1"
    code, _, err = await run(server)
    assert code == 3
    assert "is not an address" in err


@pytest.mark.parametrize(
    "arguments", [["--interval", "0s"], ["--interval", "soon"], ["--token-env", "NO_SUCH_VARIABLE"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["agents", *arguments])
    assert result.exit_code == 2
    assert arguments[0] in result.stderr
