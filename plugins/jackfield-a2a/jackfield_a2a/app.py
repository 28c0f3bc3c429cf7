"""The gateway's web application: the list of agents, their cards, and the routes of calls."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.server.routes import create_jsonrpc_routes, create_rest_routes
from a2a.server.routes.common import DefaultServerCallContextBuilder
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from jackfield.client import ConnectionClosed, ConnectionFailed, RequestError

from . import middleware
from .card import RPC_PATH, make_card
from .gateway import AGENT, LEASE, Gateway
from .middleware import ConnectionMiddleware
from .pool import Pool, PoolFull
from .problem import connection_problem, problem

#: Seconds until Jackfield must have welcomed a connection; less than callers will wait.
_CONNECT_TIMEOUT: Final = 5.0
#: Seconds for the list of agents.
_LIST_TIMEOUT: Final = 5.0
_UNAUTHORIZED: Final = 401


def create_app(
    url: str,
    *,
    address: str,
    token: str | None = None,
    anonymous: bool = False,
    connections: int = 100,
    tls: ssl.SSLContext | None = None,
) -> Starlette:
    """Make the gateway, ready for an ASGI server.

    Args:
        url: The socket of Jackfield, ``ws://`` or ``wss://``.
        address: Where callers reach the gateway, as it stands in cards.
        token: What the gateway itself connects with, to list the agents; no call is made with it.
            None for an anonymous connection.
        anonymous: Whether to accept callers without a token, as anonymous clients of Jackfield.
        connections: How many connections there may be to Jackfield, one for each request.
        tls: Whose certificates are trusted; None for those that the system trusts.
    """
    pool = Pool(url, size=connections, timeout=_CONNECT_TIMEOUT, tls=tls)
    address = address.rstrip("/")

    async def agents() -> list[dict[str, Any]]:
        async with pool.lease(token) as lease:
            return await lease.client.agents(timeout=_LIST_TIMEOUT)

    async def index(_: Request) -> Response:
        """List the agents."""
        try:
            known = await agents()
        except _FAULTS as error:
            return _list_problem(error)
        addresses = {agent["name"]: _address(address, agent["name"]) for agent in known}
        return JSONResponse(
            {
                "agents": [
                    {"name": name, "card": each + AGENT_CARD_WELL_KNOWN_PATH}
                    for name, each in addresses.items()
                ]
            }
        )

    async def card(request: Request) -> Response:
        """Show an agent's card."""
        name = request.path_params["agent"]
        try:
            known = {agent["name"]: agent for agent in await agents()}
        except _FAULTS as error:
            return _list_problem(error)
        if name not in known:
            return problem(404, f"There is no agent {name!r}.")
        made = make_card(known[name], _address(address, name), anonymous=anonymous)
        return JSONResponse(agent_card_to_dict(made))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await pool.close()

    gateway = Gateway()
    builder = _ContextBuilder()
    rpc = create_jsonrpc_routes(gateway, RPC_PATH, builder, enable_v0_3_compat=True)
    # Among these there are the same once more for tenants, of which there are none here.
    rest = [each for each in create_rest_routes(gateway, builder) if isinstance(each, Route)]
    calls = Mount(
        "/",
        routes=[*rpc, *rest],
        middleware=[Middleware(ConnectionMiddleware, pool=pool, anonymous=anonymous)],
    )
    return Starlette(
        routes=[
            Route("/", index),
            Mount("/agents/{agent}", routes=[Route(AGENT_CARD_WELL_KNOWN_PATH, card), calls]),
        ],
        lifespan=lifespan,
    )


#: Why the gateway may not be able to list the agents.
_FAULTS: Final = (ConnectionFailed, ConnectionClosed, PoolFull, RequestError, TimeoutError)


class _ContextBuilder(DefaultServerCallContextBuilder):
    """Tells the gateway which agent a request is for, and by which connection."""

    def build(self, request: Request) -> ServerCallContext:
        context = super().build(request)
        context.state[AGENT] = request.path_params["agent"]
        context.state[LEASE] = request.scope[middleware.LEASE]
        return context


def _address(address: str, name: str) -> str:
    return f"{address}/agents/{name}"


def _list_problem(
    error: ConnectionFailed | ConnectionClosed | PoolFull | RequestError | TimeoutError,
) -> Response:
    match error:
        case RequestError(retryable=False):
            return problem(502, f"Jackfield does not say which agents there are: {error}")
        case RequestError(extra={"retry_after": int() | float() as after}) if after:
            return problem(503, f"Jackfield is away: {error}", after)
        case RequestError():
            return problem(503, f"Jackfield is away: {error}", 1.0)
        case TimeoutError():
            return problem(503, "Jackfield did not answer in time.", 1.0)
    answer = connection_problem(error)
    if answer.status_code == _UNAUTHORIZED:  # the gateway's own token, not the caller's
        return problem(502, "Jackfield does not take the gateway's own token.")
    return answer
