"""A gateway before a server with an agent, and callers by the SDK's own client."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from a2a.client import Client, ClientConfig, ClientFactory
from a2a.client.card_resolver import A2ACardResolver
from a2a.types import AgentCard
from a2a.utils.constants import PROTOCOL_VERSION_1_0, TransportProtocol
from marshmallow import Schema, fields, validate

from jackfield import Error
from jackfield.auth import Credentials
from jackfield.client import Agent, Rejected, Task
from jackfield.testing import RunningServer, run_server
from jackfield.wire.identity import Identity
from jackfield_a2a import create_app


class ByToken:
    """Takes a token for a user's name, and lets no stranger in."""

    async def authenticate(self, credentials: Credentials) -> Identity:
        if credentials.token == "stranger":
            raise Error("unauthenticated")
        if credentials.token == "bot":
            return Identity("bot", frozenset({"agent"}))
        return Identity(credentials.token or None)


class Words(Schema):
    text = fields.String(required=True, validate=validate.Length(1, 100))


class Count(Schema):
    to = fields.Integer(strict=True, required=True)


class Answer(Schema):
    yes = fields.Boolean(required=True)


@dataclass
class Bot:
    """An agent that does what tests need.

    Attributes:
        agent: The agent.
        calls: The inputs that it was called with.
        go_on: What `hold` waits for.
        cancelled: Set when `hold` was cancelled.
    """

    agent: Agent
    calls: list[Any] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


def create_bot(url: str, name: str = "bot") -> Bot:
    # A task that waits for somebody at the end of its test waits for nobody.
    bot = Bot(Agent(name, url, "bot", capacity=100, grace=0))
    skill = bot.agent.skill

    @skill("say", Words)
    async def say(task: Task, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Say it word by word."""
        bot.calls.append(data)
        for word in data["text"].split():
            yield {"text": f"{word} "}
        task.output = {"text": data["text"]}

    @skill("hold")
    async def hold(task: Task, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Say one thing, wait, and say another."""
        try:
            yield {"text": "one "}
            await bot.go_on.wait()
            yield {"text": "two"}
        except asyncio.CancelledError:
            bot.cancelled.set()
            raise

    @skill("count", Count)
    async def count(task: Task, data: dict[str, Any]) -> dict[str, Any]:
        """Count."""
        bot.calls.append(data)
        return {"counted": [*range(data["to"])]}

    @skill("ask")
    async def ask(task: Task, data: dict[str, Any]) -> dict[str, Any]:
        """Ask twice."""
        first = await task.ask("Sure?", Answer)
        second = await task.ask("Who are you?", state="auth_required")
        return {"sure": first["yes"], "who": second}

    @skill("fail")
    async def fail(task: Task, data: dict[str, Any]) -> dict[str, Any]:
        """Fail."""
        raise Error("bot.tired", "I am tired.")

    @skill("refuse")
    async def refuse(task: Task, data: dict[str, Any]) -> dict[str, Any]:
        """Refuse."""
        raise Rejected("Not this.")

    return bot


class _Uvicorn(uvicorn.Server):
    """A server that leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def run_gateway(url: str, **options: Any) -> AsyncIterator[str]:
    """Run a gateway; where it is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = create_app(url, address=address, **options)
        server = _Uvicorn(uvicorn.Config(app, log_config=None, ws="none"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield address
        finally:
            server.should_exit = True
            await serving


@dataclass
class Caller:
    """Somebody who calls an agent.

    Attributes:
        card: The agent's card, as it is had.
        streaming: A client that is told what comes as it comes.
        waiting: A client that waits for what comes of it.
    """

    card: AgentCard
    streaming: Client
    waiting: Client


@dataclass
class System:
    """All that is up.

    Attributes:
        server: Jackfield.
        bot: The agent.
        address: Where the gateway is.
    """

    server: RunningServer
    bot: Bot
    address: str

    @asynccontextmanager
    async def caller(
        self,
        user: str | None = "ada",
        *,
        binding: str = TransportProtocol.JSONRPC,
        version: str = PROTOCOL_VERSION_1_0,
    ) -> AsyncIterator["Caller"]:
        """Somebody who calls the agent with the SDK."""
        headers = {} if user is None else {"Authorization": f"Bearer {user}"}
        async with httpx.AsyncClient(headers=headers) as http:
            resolver = A2ACardResolver(http, f"{self.address}/agents/{self.bot.agent.name}")
            card = await resolver.get_agent_card()
            known = AgentCard()
            known.CopyFrom(card)
            for place in reversed(range(len(card.supported_interfaces))):
                if card.supported_interfaces[place].protocol_version != version:
                    del known.supported_interfaces[place]
            clients = [
                ClientFactory(
                    ClientConfig(
                        httpx_client=http,
                        supported_protocol_bindings=[binding],
                        streaming=streaming,
                    )
                ).create(known)
                for streaming in (True, False)
            ]
            yield Caller(card, *clients)


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with run_server(authenticators=[ByToken()]) as server:
        bot = create_bot(server.url)
        async with bot.agent.running(), run_gateway(server.url, token="gateway") as address:
            yield System(server, bot, address)


@pytest.fixture(params=[TransportProtocol.JSONRPC, TransportProtocol.HTTP_JSON])
async def ada(request: pytest.FixtureRequest, system: System) -> AsyncIterator[Caller]:
    """A caller, by each binding of the protocol."""
    async with system.caller(binding=request.param) as client:
        yield client


@pytest.fixture
def gateway_at() -> Callable[..., AbstractAsyncContextManager[str]]:
    return run_gateway


@pytest.fixture
def by_token() -> ByToken:
    return ByToken()


@pytest.fixture
def bot_at() -> Callable[..., Bot]:
    return create_bot
