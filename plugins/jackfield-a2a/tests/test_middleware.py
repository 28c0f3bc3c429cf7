"""Whose requests get through the gateway to Jackfield, and how all others are answered."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from jackfield.testing import run_server
from jackfield_a2a.middleware import MAX_BYTES
from jackfield_a2a.pool import Pool, PoolFull
from tests.support.valkeys import free_port
from tests.support.waiting import wait_until


def body(skill: str, *, streaming: bool = False, **given: Any) -> dict[str, Any]:
    """A message as JSON-RPC has it."""
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "SendStreamingMessage" if streaming else "SendMessage",
        "params": {
            "message": {
                "messageId": str(uuid4()),
                "role": "ROLE_USER",
                "parts": [{"data": given}],
                "metadata": {"skill": skill},
            }
        },
    }


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(headers={"A2A-Version": "1.0"}, timeout=20) as client:
        yield client


def as_user(user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {user}"}


async def call(http: httpx.AsyncClient, address: str, **options: Any) -> httpx.Response:
    options.setdefault("json", body("say", text="hi"))
    return await http.post(f"{address}/agents/bot/rpc", **options)


def told(response: httpx.Response, status: int) -> str:
    """The words of an error."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    return str(response.json()["detail"])


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}]
)
async def test_who_has_no_token_is_asked_for_one(
    http: httpx.AsyncClient, system: Any, header: dict[str, str]
) -> None:
    response = await call(http, system.address, headers=header)
    assert told(response, 401) == "A bearer token is needed."
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_token_that_jackfield_does_not_take_is_not_taken(
    http: httpx.AsyncClient, system: Any
) -> None:
    response = await call(http, system.address, headers=as_user("stranger"))
    assert told(response, 401) == "Jackfield does not take this token."


async def test_a_caller_is_known_to_the_agent_by_its_own_token(
    http: httpx.AsyncClient, system: Any
) -> None:
    for user in ("ada", "ben", "ada"):
        result = (await call(http, system.address, headers=as_user(user))).json()["result"]
        async with system.server.connect(token=user) as client:
            task = await client.request("agent.task", {"task": result["task"]["id"]})
        assert task["caller"] == user


async def test_cards_are_for_everybody_and_name_what_is_needed(
    http: httpx.AsyncClient, system: Any
) -> None:
    (listed,) = (await http.get(system.address)).json()["agents"]
    assert listed["name"] == "bot"
    card = (await http.get(listed["card"])).json()
    assert card["securityRequirements"] == [{"schemes": {"bearer": {}}}]
    place = f"{system.address}/agents/nobody/.well-known/agent-card.json"
    assert told(await http.get(place), 404) == "There is no agent 'nobody'."


async def test_an_agent_that_is_not_there_is_not_called(
    http: httpx.AsyncClient, system: Any
) -> None:
    place = f"{system.address}/agents/nobody/rpc"
    response = await http.post(place, json=body("say", text="hi"), headers=as_user("ada"))
    error = response.json()["error"]
    assert error["code"] == -32602
    assert "agent" in error["message"]


async def test_where_it_is_allowed_nobody_needs_a_token(
    http: httpx.AsyncClient, system: Any, gateway_at: Any
) -> None:
    async with gateway_at(system.server.url, anonymous=True) as address:
        card = (await http.get(f"{address}/agents/bot/.well-known/agent-card.json")).json()
        assert "securityRequirements" not in card
        request = body("say", text="hi")
        tasks = [(await call(http, address, json=request)).json()["result"]["task"] for _ in "12"]
        states = [task["status"]["state"] for task in tasks]
        assert states == ["TASK_STATE_COMPLETED"] * 2
        # Nobody knows whether they are the same, so what one has sent is not the other's.
        assert tasks[0]["id"] != tasks[1]["id"]


async def test_a_request_that_is_too_large_is_refused(http: httpx.AsyncClient, system: Any) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MAX_BYTES // 2**16 + 1):
            yield b"x" * 2**16

    response = await call(
        http, system.address, json=None, content=endless(), headers=as_user("ada")
    )
    assert told(response, 413) == f"The request is larger than {MAX_BYTES} bytes."


@pytest.mark.parametrize("streaming", [False, True])
async def test_who_hangs_up_gives_the_connection_back_and_the_task_goes_on(
    http: httpx.AsyncClient, system: Any, gateway_at: Any, *, streaming: bool
) -> None:
    def connections() -> int:
        return len(system.server.node.hub)

    before = connections()
    async with gateway_at(system.server.url, connections=1) as address:
        request = body("hold", streaming=streaming)
        waiting = asyncio.create_task(
            call(http, address, json=request, headers=as_user("ada"), timeout=None)
        )

        async def is_running() -> bool:
            async with system.server.connect(token="ada") as client:
                (agent,) = (await client.request("agent.list"))["agents"]
            return bool(agent["running"] == 1)

        await wait_until(is_running)
        busy = await call(http, address, headers=as_user("ben"))
        assert told(busy, 503) == "Too many requests are under way."
        assert busy.headers["retry-after"] == "1"
        waiting.cancel()
        await asyncio.wait([waiting])

        async def has_room() -> bool:
            return (await call(http, address, headers=as_user("ben"))).status_code == 200

        await wait_until(has_room)
        assert await is_running()
        assert not system.bot.cancelled.is_set()
    await wait_until(lambda: connections() == before)


async def test_connections_are_used_again_by_the_same_user_alone(system: Any) -> None:
    pool = Pool(system.server.url, size=2, timeout=5)
    async with pool.lease("ada") as lease:
        first = lease.client
        assert first.welcome["user"] == "ada"
        async with pool.lease("ada") as other:
            assert other.client is not first
            with pytest.raises(PoolFull):
                async with pool.lease("ben"):
                    pass
    async with pool.lease("ben") as lease:  # in the place of one of hers
        assert lease.client.welcome["user"] == "ben"
    async with pool.lease("ada") as lease:
        assert lease.client in (first, other.client)
        lease.reusable = False
        last = lease.client
    async with pool.lease("ada") as lease:
        assert lease.client is not last
    await pool.close()
    assert lease.client.closed is not None


async def test_a_connection_that_has_ended_is_not_used_again(system: Any) -> None:
    pool = Pool(system.server.url, size=1, timeout=5)
    async with pool.lease("ada") as lease:
        first = lease.client
    await first.close()
    async with pool.lease("ada") as lease:
        assert lease.client is not first
        assert (await lease.client.request("session.whoami"))["user"] == "ada"
    await pool.close()


async def test_a_server_that_is_away_is_said_to_be_away(
    http: httpx.AsyncClient, gateway_at: Any
) -> None:
    async with gateway_at(f"ws://127.0.0.1:{free_port()}/ws") as address:
        for response in (
            await http.get(address),
            await http.get(f"{address}/agents/bot/.well-known/agent-card.json"),
            await call(http, address, headers=as_user("ada")),
        ):
            assert told(response, 503).startswith("Jackfield is away: The server at 127.0.0.1")
            assert response.headers["retry-after"] == "1"


async def test_a_server_that_comes_back_is_found_again(
    http: httpx.AsyncClient, gateway_at: Any, bot_at: Any, by_token: Any
) -> None:
    port = free_port()
    config = {"server": {"port": port}}
    async with gateway_at(f"ws://127.0.0.1:{port}/ws") as address:
        for _ in "12":
            async with (
                run_server(config=config, authenticators=[by_token]) as server,
                bot_at(server.url).agent.running(),
            ):
                result = (await call(http, address, headers=as_user("ada"))).json()["result"]
                assert result["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
            away = await call(http, address, headers=as_user("ada"))
            assert told(away, 503).startswith("Jackfield is away")


async def test_a_server_that_goes_in_the_middle_of_a_stream_is_told(
    http: httpx.AsyncClient, gateway_at: Any, bot_at: Any, by_token: Any
) -> None:
    lines: list[str] = []
    async with (
        run_server(authenticators=[by_token]) as server,
        bot_at(server.url).agent.running(),
        gateway_at(server.url) as address,
    ):

        async def listen() -> None:
            request = body("hold", streaming=True)
            place = f"{address}/agents/bot/rpc"
            async with http.stream("POST", place, json=request, headers=as_user("ada")) as response:
                async for line in response.aiter_lines():
                    lines.append(line)
                    if "artifactUpdate" in line:
                        cut_off()

        def cut_off() -> None:
            for connection in [each for each in server.node.hub if each.user == "ada"]:
                connection.transport.abort()

        await listen()
    assert "event: error" in lines
    (error,) = [line for line in lines if '"error"' in line]
    assert "The connection to Jackfield was lost" in error


async def test_a_gateway_that_is_not_let_in_itself_says_so(
    http: httpx.AsyncClient, system: Any, gateway_at: Any
) -> None:
    async with gateway_at(system.server.url, token="stranger") as address:
        words = told(await http.get(address), 502)
        assert words == "Jackfield does not take the gateway's own token."
        # Callers have tokens of their own.
        assert (await call(http, address, headers=as_user("ada"))).status_code == 200
