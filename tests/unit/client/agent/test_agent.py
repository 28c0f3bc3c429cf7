"""An agent is declared, serves, reconnects and stops."""

import asyncio
import logging
import os
import signal
import sys

import pytest
from aiohttp import web

from jackfield.client import Agent, ConnectionClosed, ConnectionFailed, RequestError, Task
from tests.support.agent_registry import FAST_RETRY, AgentRegistry, Message, stuck
from tests.support.peer import WELCOME, Peer, Server
from tests.support.waiting import wait_until


@pytest.mark.parametrize("name", ["", "A", "1a", "a b", "a" * 65, "ä"])
def test_a_wrong_name_is_refused_in_words(name: str) -> None:
    with pytest.raises(ValueError, match="is no name for an agent: lower-case"):
        Agent(name, "ws://x")
    with pytest.raises(ValueError, match="is no id for a skill: lower-case"):
        Agent("a", "ws://x").skill(name)


def test_wrong_use_is_refused_in_words_where_it_stands() -> None:
    agent = Agent("a", "ws://x")
    with pytest.raises(ValueError, match="takes 1 to 1000 tasks at once, not 0"):
        Agent("a", "ws://x", capacity=0)
    with pytest.raises(TypeError, match="'one' of agent 'a' must be an async function, or an"):
        agent.skill("one")(print)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="'one' of agent 'a' must have a marshmallow Schema"):
        agent.skill("one", str)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no server takes at /properties/a/pattern: No regular"):
        agent.skill("one", {"properties": {"a": {"pattern": "(?=a)"}}})
    with pytest.raises(ValueError, match="A description has at most 2000 characters"):
        stuck(agent, description="x" * 2001)
    stuck(agent)
    with pytest.raises(ValueError, match="'stuck' of agent 'a' is declared twice"):
        stuck(agent)
    for n in range(63):
        stuck(agent, f"s{n}")
    with pytest.raises(ValueError, match="'a' has 64 skills, as many as may be"):
        stuck(agent, "s63")


async def test_an_agent_without_skills_does_not_serve() -> None:
    with pytest.raises(RuntimeError, match="The agent 'a' has no skills"):
        await Agent("a", "ws://x").serve()


async def test_an_agent_serves_once_at_a_time(agent: Agent, registry: AgentRegistry) -> None:
    async with agent.running():
        with pytest.raises(RuntimeError, match="is serving already"):
            await agent.serve()
    async with agent.running():
        await registry.wait_for("register", 2)
    assert len(registry.peers) == 2


@pytest.mark.parametrize(
    ("code", "comes_again"),
    [(4001, True), (4003, True), (4002, False), (4501, False), (4503, False)],
)
async def test_close_codes_say_whether_to_come_again(
    agent: Agent, registry: AgentRegistry, code: int, *, comes_again: bool
) -> None:
    serving = asyncio.create_task(agent.serve())
    await registry.wait_for("register")
    await wait_until(lambda: agent._registration.is_active)
    await registry.peers[-1].socket.close(code=code)
    if comes_again:
        await registry.wait_for("register", 2)
        agent.stop()
        await serving
    else:
        with pytest.raises(ConnectionClosed, match=str(code)):
            await serving


async def test_an_agent_that_was_closed_as_idle_comes_back(
    agent: Agent, registry: AgentRegistry
) -> None:
    async with agent.running():
        await registry.peers[-1].socket.close(code=1000, message=b"idle")
        await registry.wait_for("register", 2)
    assert len(registry.peers) == 2


async def test_an_agent_that_is_refused_for_now_comes_back(
    agent: Agent, server: Server, registry: AgentRegistry
) -> None:
    goodbye = {"code": 4006, "reason": "busy.full", "reconnect": True, "after": 0.05}

    async def refuse(peer: Peer) -> None:
        server.first, server.on_welcome = WELCOME, None
        await peer.send("goodbye", payload=goodbye)
        await peer.socket.close(code=4006, message=b"busy.full")

    error = {"code": "busy.full", "message": "Full.", "retryable": True}
    server.first = {"type": "error", "id": None, "error": error}
    server.on_welcome = refuse
    async with agent.running():
        assert len(server.accepted) == 2


async def test_the_wait_is_drawn_from_a_bound_that_doubles(
    server: Server, registry: AgentRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[float] = []

    def draw(_low: float, high: float) -> float:
        bounds.append(high)
        return 0.0

    monkeypatch.setattr("jackfield.client.backoff.random.uniform", draw)
    server.refuse = lambda: web.Response(status=503)
    agent = Agent("a", server.url, backoff=1, max_backoff=6)
    stuck(agent)
    serving = asyncio.create_task(agent.serve())
    await wait_until(lambda: len(bounds) > 4)
    serving.cancel()
    await asyncio.wait({serving})
    assert bounds[:5] == [1, 2, 4, 6, 6]


async def test_a_server_that_says_when_is_obeyed_without_alarm(
    registry: AgentRegistry, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jackfield.agent")
    payload = {"code": 4001, "reason": "shutdown", "reconnect": True, "after": 3600}
    async with agent.running():
        await registry.peers[-1].send("goodbye", payload=payload)
        await registry.peers[-1].socket.close(code=4001)
        await wait_until(lambda: not agent._registration.is_active)
        # Leaving stops the agent, which does not wait for that hour.
    (record,) = [each for each in caplog.records if "connects again" in each.getMessage()]
    assert "in 3600.0 s" in record.getMessage()
    assert record.levelno == logging.INFO
    assert len(registry.received["register"]) == 1


async def test_a_function_is_asked_for_a_token_before_each_connection(
    server: Server, registry: AgentRegistry
) -> None:
    tokens = iter(["one", "two"])

    async def next_token() -> str:
        return next(tokens)

    agent = Agent("a", server.url, next_token, headers={"X-From": "here"}, **FAST_RETRY)
    stuck(agent)
    async with agent.running():
        await registry.peers[-1].socket.close(code=4002, message=b"token expired")
        await registry.wait_for("register", 2)
    sent = [peer.headers["Authorization"] for peer in registry.peers]
    assert sent == ["Bearer one", "Bearer two"]
    assert [peer.headers["X-From"] for peer in registry.peers] == ["here", "here"]


async def test_a_token_may_be_plain(server: Server, registry: AgentRegistry) -> None:
    for token in ("t0k3n", lambda: "t0k3n"):
        agent = Agent("a", server.url, token)
        stuck(agent)
        async with agent.running():
            assert registry.peers[-1].headers["Authorization"] == "Bearer t0k3n"


async def test_no_token_ends_it_the_first_time_and_is_waited_for_later(
    server: Server, registry: AgentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 0

    def fails_once(at: int) -> str:
        nonlocal asked
        asked += 1
        if asked == at:
            raise OSError("the issuer is away")
        return "t0k3n"

    first = Agent("a", server.url, lambda: fails_once(1), **FAST_RETRY)
    stuck(first)
    with pytest.raises(ConnectionFailed, match="no token to connect with: OSError"):
        await first.serve()
    later = Agent("a", server.url, lambda: fails_once(3), **FAST_RETRY)
    stuck(later)
    async with later.running():
        registry.peers[-1].cut()
        await registry.wait_for("register", 2)
    assert asked == 4
    assert "the issuer is away" in caplog.text


async def test_a_server_that_refuses_the_connection_ends_it(agent: Agent, server: Server) -> None:
    server.refuse = lambda: web.json_response({"message": "Not you."}, status=403)
    with pytest.raises(ConnectionFailed, match="Not you"):
        await agent.serve()


async def test_to_stop_unregisters_and_lets_tasks_end(
    agent: Agent, registry: AgentRegistry
) -> None:
    go_on = asyncio.Event()

    @agent.skill("slow")
    async def slow(task: Task, data: Message) -> Message:
        await go_on.wait()
        return {"done": True}

    serving = asyncio.create_task(agent.serve())
    await registry.wait_for("register")
    await registry.assign("slow")
    await wait_until(lambda: len(agent._tasks))
    agent.stop()
    await registry.wait_for("unregister")
    assert not serving.done()
    go_on.set()
    await serving
    assert registry.received["complete"][0]["output"] == {"done": True}


async def test_a_connection_lost_while_stopping_is_replaced_for_the_tasks_left(
    agent: Agent, registry: AgentRegistry
) -> None:
    go_on = asyncio.Event()

    @agent.skill("slow")
    async def slow(task: Task, data: Message) -> None:
        await go_on.wait()

    registry.tasks = [{"task": "a.1", "attempt": 1, "seq": 0, "state": "working"}]
    serving = asyncio.create_task(agent.serve())
    await registry.wait_for("register")
    await registry.assign("slow")
    await wait_until(lambda: len(agent._tasks))
    agent.stop()
    await registry.wait_for("unregister")
    registry.peers[-1].cut()
    await registry.wait_for("unregister", 2)
    go_on.set()
    await serving
    assert (await registry.wait_for("complete"))["task"] == "a.1"


async def test_to_be_cancelled_stops_without_the_grace(
    agent: Agent, registry: AgentRegistry
) -> None:
    agent.grace = 3600
    news = stuck(agent)
    serving = asyncio.create_task(agent.serve())
    await registry.wait_for("register")
    await registry.assign("stuck")
    assert await news.get() == "begun"
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert await news.get() == "cancelled: True"
    assert {"unregister", "fail"}.isdisjoint(registry.received)


_PROGRAM = """
import asyncio, sys
from jackfield.client import Agent

agent = Agent("a", sys.argv[1])

@agent.skill("wait")
async def wait(task, data):
    await asyncio.sleep(float(data["seconds"]))
    return {"done": True}

agent.run()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_tasks_end_and_a_second_does_not(
    server: Server, registry: AgentRegistry, number: signal.Signals
) -> None:
    for signals, code in ((1, 0), (2, 128 + number)):
        registry.received.clear()
        registry.tasks = []
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM, server.url, env=dict(os.environ)
        )
        try:
            await registry.wait_for("register")
            seconds = 0.3 if signals == 1 else 3600
            await registry.assign("wait", task="a.1", input={"seconds": 0})
            await registry.wait_for("complete")
            await registry.assign("wait", task="a.2", input={"seconds": seconds})
            await registry.assign("wait", task="a.3", input={"seconds": 0})
            await registry.wait_for("complete", 2)  # so the one before it has begun
            process.send_signal(number)
            await registry.wait_for("unregister")
            if signals == 2:
                process.send_signal(number)
            assert await process.wait() == code
            assert len(registry.received["complete"]) == (3 if signals == 1 else 2)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_an_agent_whose_name_is_taken_over_lets_its_tasks_end_and_says_why(
    registry: AgentRegistry, agent: Agent
) -> None:
    may_end = asyncio.Event()

    @agent.skill("slow")
    async def slow(task: Task, data: Message) -> None:
        await may_end.wait()

    serving = asyncio.create_task(agent.serve())
    await registry.wait_for("register")
    await registry.assign("slow")
    error = {"code": "forbidden", "message": "Another's.", "scopes": ["agent:a"]}
    await registry.send("unregistered", name="a", error=error)
    await registry.wait_for("unregister")
    assert not serving.done()
    may_end.set()
    with pytest.raises(RequestError) as raised:
        await serving
    assert (raised.value.code, raised.value.extra["scopes"]) == ("forbidden", ["agent:a"])
    await registry.wait_for("complete")
    assert len(registry.received["register"]) == 1
