"""A client is let in or turned away, welcomed, served, and cleaned up after, whatever fails."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
import structlog
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError, web
from aiohttp.test_utils import TestServer

from jackfield import Context, Error, Plugin
from jackfield.agents.agents import Agents
from jackfield.auth import Credentials
from jackfield.auth.chain import AuthenticatorChain
from jackfield.auth.expiry import Expiry
from jackfield.auth.revocations import Revocations
from jackfield.connection.connection import Connection
from jackfield.connection.permits import Permits
from jackfield.connection.proxies import TrustedProxies
from jackfield.session.connection_hooks import ConnectionHooks
from jackfield.session.session import SESSIONS, Sessions, websocket
from jackfield.session.told_limits import told_limits
from jackfield.store.connections import ConnectionRecord, ConnectionStore
from jackfield.telemetry.log import RateLimitedLog
from jackfield.topics.membership import MEMBERSHIP, PendingJoin
from jackfield.topics.topics import Topics
from jackfield.wire.identity import ANONYMOUS, Identity
from tests.support.routing import Routing, runtime
from tests.support.shares import shares
from tests.support.waiting import PROMPT, wait_until

#: The headers of a request for a WebSocket.
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Authenticator:
    """Knows the tokens that are users' names, but for those it is told not to."""

    def __init__(self) -> None:
        self.anonymous = True

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        if credentials.source == "none":
            return ANONYMOUS if self.anonymous else None
        if credentials.token == "nobody":
            raise Error("unauthenticated")
        if credentials.token == "away":
            raise Error("unavailable", retry_after=3.6)
        return Identity(credentials.token)


class Revoked:
    """Users that are revoked once they are let in."""

    is_ready = True

    def __init__(self) -> None:
        self.users: set[str] = set()

    def is_revoked(self, identity: Identity, connection_id: str | None = None) -> bool:
        return connection_id is not None and identity.user in self.users


class Parts:
    """What the rest of a node would do, and what was asked of it, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails: set[str] = set()
        self.joins: list[PendingJoin] = []

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if what in self.fails:
            raise Error("unavailable", retry_after=0.2)

    async def add(self, record: ConnectionRecord) -> None:
        self._ask(f"add {record.user}")

    async def remove(self, record: ConnectionRecord) -> None:
        self._ask(f"remove {record.user}")

    async def join_own(self, connection: Connection) -> Sequence[PendingJoin]:
        self._ask(f"join {connection.user}")
        return self.joins

    def leave_all(self, connection: Connection) -> None:
        self._ask(f"leave topics {connection.user}")

    def leave(self, connection: Connection) -> None:
        self._ask(f"leave agents {connection.user}")

    def watch(self, connection: Connection) -> None:
        self._ask(f"watch {connection.user}")

    def forget(self, connection: Connection) -> None:
        self._ask(f"forget {connection.user}")


class Serving:
    """Sessions with a plugin, served over HTTP."""

    def __init__(self, **limits: Any) -> None:
        self.hook_raises: BaseException | None = None
        self.hooks_ran: list[str] = []
        plugin = self._plugin()
        self.routing = Routing(plugin)
        self.settings = replace(
            self.routing.settings, limits=replace(self.routing.settings.limits, **limits)
        )
        self.parts, self.authenticator, self.revoked = Parts(), Authenticator(), Revoked()
        self.hub, self.permits = self.routing.hub, Permits(self.settings.limits)

    def _plugin(self) -> Plugin:
        plugin = Plugin("test")

        @plugin.handler("test.wait", timeout=3600)
        async def wait(ctx: Context, data: Any) -> None:
            await asyncio.Event().wait()

        @plugin.on_connect
        async def connect(ctx: Context) -> None:
            self.hooks_ran.append("connect")
            if self.hook_raises is not None:
                raise self.hook_raises

        @plugin.on_disconnect
        async def disconnect(ctx: Context) -> None:
            self.hooks_ran.append("disconnect")

        return plugin

    def sessions(self) -> Sessions:
        hooks = ConnectionHooks(self.routing.registry, {"test": runtime("test")}, timeout=PROMPT)
        return Sessions(
            self.settings,
            hub=self.hub,
            permits=self.permits,
            proxies=TrustedProxies(()),
            authenticators=AuthenticatorChain(
                [self.authenticator], cast(Revocations, self.revoked)
            ),
            expiry=cast(Expiry, self.parts),
            store=cast(ConnectionStore, self.parts),
            dispatcher=self.routing.dispatcher,
            topics=cast(Topics, self.parts),
            agents=cast(Agents, self.parts),
            shares=shares(),
            hooks=hooks,
            log=RateLimitedLog(structlog.get_logger("jackfield")),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Clients"]:
        app = web.Application()
        app[SESSIONS] = self.sessions()
        app.router.add_get("/ws", websocket)
        async with TestServer(app) as server, ClientSession() as http:
            async with asyncio.timeout(PROMPT):
                yield Clients(http, str(server.make_url("/ws")))
                await wait_until(lambda: self.permits.taken == 0)
        assert (len(self.hub), self.permits.unidentified, self.permits.turned_away) == (0, 0, 0)
        self.routing.close()


class Clients:
    """Clients of a server, which know no protocol but WebSocket."""

    def __init__(self, http: ClientSession, url: str) -> None:
        self.http, self.url = http, url

    @asynccontextmanager
    async def connect(
        self, user: str | None = None, **options: Any
    ) -> AsyncIterator[ClientWebSocketResponse]:
        headers = {} if user is None else {"Authorization": f"Bearer {user}"}
        async with self.http.ws_connect(
            self.url, headers=headers, autoclose=False, **options
        ) as socket:
            yield socket


async def told(socket: ClientWebSocketResponse) -> list[Any]:
    """All messages up to the close, and its code and reason."""
    messages: list[Any] = []
    while (message := await socket.receive()).type is WSMsgType.TEXT:
        messages.append(message.json())
    return [*messages, (message.data, message.extra)]


async def test_a_client_is_welcomed_served_and_cleaned_up_after() -> None:
    serving = Serving()
    async with serving.running() as clients, clients.connect("alice") as socket:
        welcome = await socket.receive_json()
        (connection,) = serving.hub
        assert welcome["type"] == "welcome"
        assert welcome["payload"]["connection"] == connection.id
        assert welcome["payload"]["user"] == "alice"
        limits = serving.settings.limits
        assert welcome["payload"]["limits"] == told_limits(limits)
        await socket.send_json({"type": "test.wait", "id": 1})
        await wait_until(lambda: connection.requests)
        assert serving.permits.by_user == {"alice": 1}
        await socket.close()
    assert serving.parts.asked == [
        "add alice",
        "join alice",
        "watch alice",
        "forget alice",
        "leave topics alice",
        "leave agents alice",
        "remove alice",
    ]
    assert serving.hooks_ran == ["connect", "disconnect"]
    assert connection.requests == {}


class Joining:
    """A topic that is joined behind the welcome."""

    topic = "user:alice"

    class position:  # noqa: N801 - as an attribute
        @staticmethod
        def _asdict() -> dict[str, Any]:
            return {"epoch": "e", "offset": 7}

    def __init__(self, serving: Serving) -> None:
        self.serving = serving

    def activate(self) -> None:
        (connection,) = self.serving.hub
        connection[MEMBERSHIP].joined.append(cast(Any, self))
        connection.send(b'{"type":"event"}')

    def abandon(self) -> None:
        raise AssertionError


async def test_topics_that_it_is_in_from_the_start_are_in_the_welcome_and_events_behind_it() -> (
    None
):
    serving = Serving()
    serving.parts.joins = [cast(PendingJoin, Joining(serving))]
    async with serving.running() as clients, clients.connect("alice") as socket:
        welcome = await socket.receive_json()
        assert welcome["payload"]["topics"] == {"user:alice": {"epoch": "e", "offset": 7}}
        assert await socket.receive_json() == {"type": "event"}
        (connection,) = serving.hub
        membership = connection[MEMBERSHIP]
        assert (membership.given, membership.early_joins) == (1, None)
        await socket.close()


@pytest.mark.parametrize("user", ["away", "alice"])
async def test_while_redis_or_an_authenticator_is_away_there_is_no_upgrade(user: str) -> None:
    serving = Serving()
    serving.parts.fails.add("add alice")
    async with serving.running() as clients:
        headers = {**HANDSHAKE, "Authorization": f"Bearer {user}"}
        async with clients.http.get(clients.url, headers=headers) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == {"away": "4", "alice": "1"}[user]
            assert (await response.json(content_type=None))["code"] == "unavailable"
    assert serving.hooks_ran == []


async def test_in_a_shutdown_there_is_no_upgrade() -> None:
    serving = Serving()
    serving.hub.draining = True
    async with serving.running() as clients:
        async with clients.http.get(clients.url, headers=HANDSHAKE) as response:
            assert response.status == 503
    assert serving.parts.asked == []


async def test_who_is_refused_is_closed_with_a_code_that_a_page_can_read() -> None:
    serving = Serving()
    async with serving.running() as clients:
        async with clients.connect("nobody", protocols=("jackfield.v1",)) as socket:
            goodbye, close = await told(socket)
            assert goodbye["payload"]["reconnect"] is False
            assert close == (4501, "unauthenticated")
            assert socket.protocol == "jackfield.v1"
        async with clients.connect(origin="https://evil.example") as socket:
            assert (await told(socket))[-1] == (4503, "forbidden origin or protocol")


async def test_past_a_limit_clients_are_told_to_come_back() -> None:
    serving = Serving(connections=2, connections_per_user=1)
    async with serving.running() as clients, clients.connect("alice") as first:
        await first.receive_json()
        async with clients.connect("alice") as second:
            goodbye, close = await told(second)
            assert close == (4006, "connection limit")
            assert goodbye["payload"]["reconnect"] is True
            assert goodbye["payload"]["after"] == serving.settings.connections.heartbeat
        async with clients.connect("bob") as third:
            await third.receive_json()
            with pytest.raises(WSServerHandshakeError, match="503"):
                await clients.connect("carol").__aenter__()
            await third.close()
        await first.close()


async def test_past_too_many_that_are_turned_away_there_is_no_upgrade() -> None:
    serving = Serving(connections_per_user=0, unauthenticated=1)
    headers = {**HANDSHAKE, "Authorization": "Bearer alice"}
    async with serving.running() as clients:
        with serving.permits.turn_away():
            async with clients.http.get(clients.url, headers=headers) as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "2"


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (Error("test.banned", "You are banned."), 4503),
        (Error("test.full", "It is full.", retryable=True), 4006),
    ],
)
async def test_a_hook_may_refuse_a_connection(raised: Error, code: int) -> None:
    serving = Serving()
    serving.hook_raises = raised
    async with serving.running() as clients, clients.connect() as socket:
        answers = await told(socket)
        assert (answers[0]["id"], answers[0]["error"]["code"]) == (None, raised.code)
        assert answers[-1] == (code, raised.code)
    assert serving.hooks_ran == ["connect", "disconnect"]
    assert "watch None" not in serving.parts.asked


async def test_who_is_revoked_on_its_way_is_closed_before_its_hooks() -> None:
    serving = Serving()
    serving.revoked.users.add("alice")
    async with serving.running() as clients, clients.connect("alice") as socket:
        assert (await told(socket))[-1] == (4502, "revoked")
    assert serving.hooks_ran == []
    assert serving.parts.asked[-1] == "remove alice"


async def test_without_its_own_topics_it_is_not_welcomed() -> None:
    serving = Serving()
    serving.parts.fails.add("join None")
    async with serving.running() as clients, clients.connect() as socket:
        answers = await told(socket)
        assert answers[0]["error"]["code"] == "unavailable"
        assert answers[-1] == (4006, "unavailable")


async def test_state_that_can_not_be_removed_is_left_to_its_ttl(
    logged: Callable[[], str],
) -> None:
    serving = Serving()
    serving.parts.fails.add("remove None")
    async with serving.running() as clients, clients.connect() as socket:
        await socket.receive_json()
        await socket.close()
    assert "left to its TTL" in logged()


AUTH = {"type": "auth", "payload": {"token": "alice"}}


async def test_a_client_may_say_who_it_is_by_its_first_message() -> None:
    serving = Serving()
    serving.authenticator.anonymous = False
    async with serving.running() as clients, clients.connect() as socket:
        await wait_until(lambda: serving.permits.unidentified == 1)
        assert (serving.parts.asked, len(serving.hub)) == ([], 0)
        await socket.send_json(AUTH)
        welcome = await socket.receive_json()
        assert welcome["payload"]["user"] == "alice"
        assert (serving.permits.unidentified, serving.permits.by_user) == (0, {"alice": 1})
        await socket.close()
    assert serving.parts.asked[0] == "add alice"
    assert serving.parts.asked[-1] == "remove alice"
    assert serving.hooks_ran == ["connect", "disconnect"]


async def test_who_leaves_before_it_has_said_so_leaves_nothing() -> None:
    serving = Serving()
    serving.authenticator.anonymous = False
    async with serving.running() as clients, clients.connect() as socket:
        await wait_until(lambda: serving.permits.unidentified == 1)
        await socket.close()
    assert serving.parts.asked == []


@pytest.mark.parametrize(
    ("token", "fails", "limits", "close"),
    [
        ("nobody", "", {}, (4501, "unauthenticated")),
        ("alice", "add alice", {}, (4006, "unavailable")),
        ("alice", "", {"connections_per_user": 0}, (4006, "connection limit")),
    ],
)
async def test_who_is_not_let_in_by_its_first_message_is_closed(
    token: str, fails: str, limits: dict[str, int], close: tuple[int, str]
) -> None:
    serving = Serving(**limits)
    serving.authenticator.anonymous = False
    serving.parts.fails.add(fails)
    async with serving.running() as clients, clients.connect() as socket:
        await socket.send_json({"type": "auth", "payload": {"token": token}})
        assert (await told(socket))[-1] == close
    assert serving.hooks_ran == []


async def test_of_too_many_that_have_not_said_so_the_longest_is_closed() -> None:
    serving = Serving(unauthenticated=1)
    serving.authenticator.anonymous = False
    async with serving.running() as clients, clients.connect() as first:
        await wait_until(lambda: serving.permits.unidentified == 1)
        async with clients.connect() as second:
            assert (await told(first))[-1][0] == 4505
            await second.send_json(AUTH)
            assert (await second.receive_json())["type"] == "welcome"
            await second.close()


async def test_a_shutdown_closes_who_has_not_said_so() -> None:
    serving = Serving()
    serving.authenticator.anonymous = False
    async with serving.running() as clients, clients.connect() as socket:
        await wait_until(lambda: serving.permits.unidentified == 1)
        await serving.hub.drain(0)
        assert (await told(socket))[-1] == (4001, "shutdown")


async def test_what_is_no_websocket_is_told_so() -> None:
    async with Serving().running() as clients:
        async with clients.http.get(clients.url) as response:
            assert (response.status, response.headers["Upgrade"]) == (426, "websocket")
        headers = {**HANDSHAKE, "Connection": "keep-alive"}
        async with clients.http.get(clients.url, headers=headers) as response:
            assert response.status == 400


async def test_behind_a_server_that_bounds_no_inflating_nothing_is_compressed() -> None:
    serving = Serving()
    serving.settings = replace(
        serving.settings, server=replace(serving.settings.server, compression=True)
    )
    async with serving.running() as clients, clients.connect(compress=15) as socket:
        assert (await socket.receive_json())["type"] == "welcome"
        assert not socket.compress
        await socket.close()
