"""The demo agent at a real server: called, streamed, asked, cancelled, started by its plugin."""

import asyncio
import os
import re
import signal
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from jackfield.client import Client, RequestError
from jackfield.testing import RunningServer, run_server
from jackfield_chat import chat
from jackfield_demo_agent import create_agent
from jackfield_demo_agent.plugin import demo_agent
from tests.support.waiting import wait_until

CONFIG: dict[str, Any] = {"server": {"debug": True}, "auth": {"anonymous_scopes": ["agent"]}}
DEMO = Path(__file__).parents[3] / "config" / "demo.toml"
COMMAND = Path(sys.executable).with_name("jackfield-demo-agent")
TEXT = "Apples grow here. Apples and pears grow there. Nothing else."
SUMMARY = "Apples grow here. Apples and pears grow there."
#: A pace at which no test sees the second word.
STILL = 10.0


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with run_server(chat, config=CONFIG) as running:
        yield running


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with create_agent(server.url, pace=0).running(), server.connect() as connected:
        yield connected


async def call(client: Client, skill: str, **given: Any) -> list[dict[str, Any]]:
    """What a call is answered with: the agent's chunks, then its output."""
    asked = {"agent": "demo", "skill": skill, "input": given}
    answers = [each async for each in client.answers("agent.call", asked)]
    *chunks, last = [each for each in answers if "state" not in each]
    return [*(each["payload"] for each in chunks), last["payload"]["output"]]


async def test_a_summary_comes_word_by_word_and_then_whole(client: Client) -> None:
    *chunks, output = await call(client, "summarise", text=TEXT)
    assert [chunk["text"] for chunk in chunks[:3]] == ["Apples ", "grow ", "here. "]
    assert "".join(chunk["text"] for chunk in chunks) == output["text"] == SUMMARY


async def test_the_same_text_has_the_same_summary(client: Client) -> None:
    first = await call(client, "summarise", text=TEXT, sentences=1)
    assert await call(client, "summarise", text=TEXT, sentences=1) == first
    assert first[-1] == {"text": "Apples grow here."}


async def test_an_answer_is_from_the_room_it_was_asked_in(client: Client) -> None:
    await client.request("chat.nick", {"nick": "Ada"})
    await client.request("chat.send", {"room": "kitchen", "text": "The kettle is on the stove."})
    *_, here = await call(client, "chat", room="kitchen", text="Where is the kettle?")
    assert here == {"text": "Ada said: “The kettle is on the stove.”"}
    *_, there = await call(client, "chat", room="cellar", text="Where is the kettle?")
    assert there == {"text": "Nobody here has said anything about kettle."}


async def test_a_room_that_cannot_be_is_an_empty_one(client: Client) -> None:
    *_, output = await call(client, "chat", room="No Room", text="a summary", nick="Ada")
    assert output == {"text": "Nobody has said anything here."}


async def test_who_says_yes_has_it_done(client: Client) -> None:
    assert await _decide(client, yes=True) == {"text": "Done: launch"}


async def test_who_says_no_has_rejected_it(client: Client) -> None:
    with pytest.raises(RequestError, match="You have said no") as refused:
        await _decide(client, yes=False)
    assert refused.value.extra["state"] == "rejected"


async def _decide(client: Client, *, yes: bool) -> Any:
    """Have the agent ask, and answer it; the output."""
    asked = {"agent": "demo", "skill": "confirm", "input": {"text": "launch"}}
    output = None
    async with aclosing(client.answers("agent.call", asked)) as answers:
        async for answer in answers:
            told = answer["payload"]
            if answer.get("state") == "input_required":
                assert told["prompt"]["message"] == "Shall I? launch"
                given = {"task": told["task"], "input": {"yes": yes}}
                await client.request("agent.answer", given)
            output = told.get("output")
    return output


async def test_a_stream_ends_when_it_is_cancelled(server: RunningServer) -> None:
    words: list[str] = []

    async def listen(client: Client) -> None:
        """Cancel the task at its first word, and listen on."""
        asked = {"agent": "demo", "skill": "summarise", "input": {"text": TEXT}}
        async with aclosing(client.answers("agent.call", asked)) as answers:
            async for answer in answers:
                if "state" in answer:
                    task = answer["payload"]["task"]
                else:
                    words.append(answer["payload"]["text"])
                    await client.request("agent.cancel", {"task": task})

    async with create_agent(server.url, pace=STILL).running(), server.connect() as client:
        with pytest.raises(RequestError) as refused:
            await listen(client)
        assert refused.value.code == "cancelled"
        assert words == ["Apples "]
        # It has room again: it does not say the rest to nobody.
        await wait_until(lambda: _is_idle(client))


async def _is_idle(client: Client) -> bool:
    (agent,) = (await client.request("agent.list"))["agents"]
    return bool(agent["running"] == 0)


async def test_the_plugin_has_an_agent_beside_the_server_for_as_long_as_it_runs() -> None:
    config = {**CONFIG, "plugins": {"demo_agent": {"run": True, "pace": 0}}}
    async with run_server(chat, demo_agent, config=config) as server, server.connect() as client:

        async def is_there() -> bool:
            agents = (await client.request("agent.list"))["agents"]
            return [(each["name"], each["instances"]) for each in agents] == [("demo", 1)]

        await wait_until(is_there)
        *_, output = await call(client, "summarise", text=TEXT)
        assert output == {"text": SUMMARY}


async def test_the_plugin_starts_no_agent_unless_it_is_told_to() -> None:
    async with run_server(demo_agent, config=CONFIG) as server, server.connect() as client:
        assert server.node.registry.failed == []
        assert (await client.request("agent.list"))["agents"] == []


async def test_a_plugin_whose_agent_is_not_let_in_says_so() -> None:
    with capture_logs() as logged:

        def told() -> list[str]:
            return [each["reason"] for each in logged if each["log_level"] == "error"]

        async with run_server(demo_agent, config={"plugins": {"demo_agent": {"run": True}}}):
            await wait_until(told)
    (reason,) = told()
    assert reason.startswith("forbidden: ")


async def run_command(*arguments: str, **variables: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **variables},
    )


async def test_the_command_is_the_agent_until_it_is_told_to_stop(server: RunningServer) -> None:
    process = await run_command("--url", server.url, "--pace", "0")
    async with server.connect() as client:
        await wait_until(lambda: _has_agent(client))
        *_, output = await call(client, "summarise", text=TEXT)
        assert output == {"text": SUMMARY}
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def _has_agent(client: Client) -> bool:
    return bool((await client.request("agent.list"))["agents"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--url", "http:/nowhere"], 1, "'http:/nowhere' is not an address like ws://"),
        (["--token-env", "UNSET_TOKEN"], 2, "The variable UNSET_TOKEN is not set."),
        (["--pace", "-1"], 2, "--pace"),
    ],
)
async def test_the_command_says_what_is_wrong(arguments: list[str], code: int, words: str) -> None:
    process = await run_command(*arguments)
    told, _ = await process.communicate()
    assert process.returncode == code
    assert words in re.sub(r"\s+", " ", told.decode())
    assert "Traceback" not in told.decode()


async def test_the_command_tells_who_is_not_let_in() -> None:
    async with run_server() as server:
        process = await run_command("--url", server.url)
        told, _ = await process.communicate()
        assert process.returncode == 1
        assert "Error: forbidden" in told.decode()


async def test_the_demo_has_the_agent_without_further_steps() -> None:
    demo = tomllib.loads(DEMO.read_text("utf-8"))
    async with run_server(chat, demo_agent, config=demo) as server, server.connect() as client:
        await wait_until(lambda: _has_agent(client))
        *_, output = await call(client, "summarise", text=TEXT)
    assert output == {"text": SUMMARY}
