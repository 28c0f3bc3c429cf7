"""The agent as a plugin: a server that is told to has one beside it, for as long as it runs."""

import asyncio
from collections.abc import AsyncIterator

from marshmallow import Schema, fields, validate

from jackfield import Plugin, Runtime
from jackfield.client import ConnectionClosed, ConnectionFailed, RequestError

from .agent import PACE, create_agent


class Config(Schema):
    """The section ``[plugins.demo_agent]``."""

    run = fields.Boolean(
        load_default=False, metadata={"description": "Whether the server has an agent beside it."}
    )
    url = fields.Url(
        load_default=None,
        schemes={"ws", "wss"},
        require_tld=False,
        metadata={
            "description": "Where the agent connects, if that is not where the server listens: "
            "with TLS, by the name that is in its certificate."
        },
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
    if not runtime.config["run"]:
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
    address = await runtime.listening()
    agent = create_agent(config["url"] or address, config["token"], pace=config["pace"])
    try:
        await agent.serve()
    except (ConnectionFailed, ConnectionClosed, RequestError) as error:
        # What to do is in the words; where it was raised says nothing.
        runtime.log.error("the demo agent was not let in", reason=str(error))  # noqa: TRY400
