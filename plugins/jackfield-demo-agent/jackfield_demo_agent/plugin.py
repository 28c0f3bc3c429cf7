"""The agent as a plugin: a server that is told to has one beside it, for as long as it runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from marshmallow import Schema, fields, validate

from jackfield import Plugin, Runtime
from jackfield.client import ConnectionClosed, ConnectionFailed, RequestError

from .agent import PACE, create_agent

#: Seconds that a server may take to start, and between two looks at whether it has.
_START: Final = 10.0
_LOOK_AGAIN: Final = 0.05


class Config(Schema):
    """The section ``[plugins.demo_agent]``."""

    url = fields.Url(
        schemes={"ws", "wss"},
        require_tld=False,
        metadata={"description": "The server's own socket. Without it there is no agent."},
    )
    token = fields.String(
        load_default=None,
        metadata={"description": "What it connects with; it needs the scope agent."},
    )
    pace = fields.Float(
        load_default=PACE,
        validate=validate.Range(0, 10),
        metadata={"description": "Seconds from one word to the next."},
    )


demo_agent = Plugin("demo_agent", config=Config)


@demo_agent.lifespan
async def run_agent(runtime: Runtime) -> AsyncIterator[None]:
    """Have the agent connect, as any agent does, once the server listens."""
    if "url" not in runtime.config:
        yield
        return
    serving = asyncio.create_task(_serve(runtime))
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def _serve(runtime: Runtime) -> None:
    config = runtime.config
    agent = create_agent(config["url"], config["token"], pace=config["pace"])
    with suppress(TimeoutError, ValueError):  # then the agent says what is wrong
        async with asyncio.timeout(_START):
            await _wait_listening(config["url"])
    try:
        await agent.serve()
    except (ConnectionFailed, ConnectionClosed, RequestError) as error:
        # What to do is in the words; where it was raised says nothing.
        runtime.log.error("the demo agent was not let in", reason=str(error))  # noqa: TRY400


async def _wait_listening(url: str) -> None:
    """Wait for the server, which starts its plugins before it listens: that is no failure."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(parts.hostname, port)
            writer.close()
            return
        await asyncio.sleep(_LOOK_AGAIN)
