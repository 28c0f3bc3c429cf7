"""The server API: keys, tickets that are good once, revocation on every node."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from jackfield.auth.revocations import Revocations
from jackfield.auth.ticket import new_ticket
from jackfield.testing import RunningServer, run_server
from jackfield.wire.errors import Error
from tests.support.tokens import jwt_section, token
from tests.support.topics import own_redis
from tests.support.waiting import assert_every_key_expires, wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]

KEY = secrets.token_hex(32)
ONLY_TICKETS = secrets.token_hex(16)


@pytest.fixture
def api(config: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A configuration with API keys, and with JSON Web Tokens."""
    return with_keys(config, tmp_path)


def with_keys(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    keys = path / "keys"
    keys.write_text(f"{KEY} *\n{ONLY_TICKETS} tickets # of the shop\n")
    return {**config, "api": {"keys_file": str(keys)}, "auth": {"jwt": jwt_section(path)}}


async def post(
    server: RunningServer, path: str, body: Any = None, *, key: str | None = KEY, raw: bytes = b""
) -> tuple[int, Any]:
    """Post to the server API: the status, and the answer."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    data = raw or json.dumps(body or {}).encode()
    url = f"{server.address}/api/v1/{path}"
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=data, headers=headers) as response,
    ):
        assert response.headers["Cache-Control"] == "no-store"
        if response.status >= 400:
            assert response.content_type == "application/problem+json"
        return response.status, await response.json(content_type=None)


async def ticket(server: RunningServer, **grant: Any) -> str:
    status, answer = await post(server, "tickets", grant)
    assert (status, answer["expires_in"]) == (201, 30)
    return str(answer["ticket"])


async def close_code(server: RunningServer, **options: Any) -> int | None:
    async with Wire(server, **options) as wire:
        return (await wire.closed())[0]


def bearer(**claims: Any) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {token(**claims)}"}}


@asynccontextmanager
async def nodes(config: Config, count: int = 2) -> AsyncIterator[list[RunningServer]]:
    """Several servers on one Redis."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(run_server(config=config)) for _ in range(count)]


# Keys.


@pytest.mark.parametrize("path", ["tickets", "revoke", "disconnect"])
@pytest.mark.parametrize(
    "key",
    [None, "", "wrong", KEY[:-1], f"{KEY}x", KEY.upper(), "*", "\xff" * 64],
    # The key is another in each run, and a test keeps its name.
    ids=["none", "empty", "wrong", "shorter", "longer", "upper", "star", "bytes"],
)
async def test_without_a_good_key_nothing_is_done(api: Config, path: str, key: str | None) -> None:
    async with run_server(config=api) as server:
        status, problem = await post(server, path, {"user": "alice"}, key=key)
    assert (status, problem["status"], problem["code"]) == (401, 401, "unauthenticated")


async def test_a_key_of_another_scheme_is_none(api: Config) -> None:
    headers = {"Authorization": f"Basic {KEY}"}
    async with run_server(config=api) as server, aiohttp.ClientSession() as http:
        url = f"{server.address}/api/v1/tickets"
        async with http.post(url, json={}, headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["revoke", "disconnect"])
async def test_a_key_does_only_what_it_is_for(api: Config, path: str) -> None:
    async with run_server(config=api) as server:
        status, problem = await post(server, path, {"user": "alice"}, key=ONLY_TICKETS)
        assert (status, problem["code"], problem["scopes"]) == (403, "forbidden", [path])
        assert (await post(server, "tickets", {"user": "alice"}, key=ONLY_TICKETS))[0] == 201


async def test_where_no_keys_are_configured_none_is_good(config: Config) -> None:
    async with run_server(config=config) as server:
        assert (await post(server, "tickets"))[0] == 401


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"\xff", 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b"[" * 10_000, 400, "invalid_json"),
        (b" " * 20_000, 413, "too_large"),
        (b'{"user":7}', 422, "invalid_payload"),
        (b'{"user":""}', 422, "invalid_payload"),
        (b'{"user":"a\\nb"}', 422, "invalid_payload"),
        (b'{"user":"a","roles":[]}', 422, "invalid_payload"),
        (b'{"scopes":"chat"}', 422, "invalid_payload"),
        (b'{"scopes":["a b"]}', 422, "invalid_payload"),
        (b'{"expires_in":0}', 422, "invalid_payload"),
        (b'{"expires_in":1e300}', 422, "invalid_payload"),
    ],
)
async def test_a_wrong_body_is_refused_in_the_protocols_words(
    api: Config, raw: bytes, status: int, code: str
) -> None:
    async with run_server(config=api) as server:
        got, problem = await post(server, "tickets", raw=raw)
    assert (got, problem["code"]) == (status, code)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("revoke", {}),
        ("revoke", {"user": "a", "token_id": "b"}),
        ("revoke", {"user": "a", "expires_in": 0}),
        ("disconnect", {}),
        ("disconnect", {"token_id": "a"}),
        ("disconnect", {"user": "a", "connection": "b"}),
    ],
)
async def test_exactly_one_subject_is_needed(api: Config, path: str, body: Any) -> None:
    async with run_server(config=api) as server:
        assert (await post(server, path, body))[0] == 422


async def test_the_api_is_unavailable_while_redis_is(tmp_path: Path) -> None:
    async with own_redis(redis={"timeout": "200ms"}) as (config, redis):
        async with run_server(config=with_keys(config, tmp_path)) as server:
            await redis.client_pause(1000)
            status, problem = await post(server, "tickets", {"user": "alice"})
    assert (status, problem["code"]) == (503, "unavailable")


# Tickets.


async def test_a_ticket_lets_in_whom_it_was_given_to_once(api: Config) -> None:
    async with run_server(config=api) as server:
        one = await ticket(server, user="alice", scopes=["chat"], expires_in=60)
        async with Wire(server, query=f"?ticket={one}", welcomed=True) as wire:
            me = (await wire.ask("session.whoami"))["payload"]
            assert (me["user"], me["scopes"]) == ("alice", ["chat"])
            assert 50 < me["expires_at"] - time.time() <= 60
        assert await close_code(server, query=f"?ticket={one}") == 4501


async def test_a_ticket_may_be_sent_as_the_first_message_and_to_refresh(api: Config) -> None:
    async with run_server(config=api) as server, Wire(server) as wire:
        one = await ticket(server, user="alice")
        await wire.send({"type": "auth", "payload": {"token": one}})
        assert (await wire.receive())["payload"]["user"] == "alice"
        used = await wire.ask("auth.refresh", {"token": one})
        assert used["error"]["code"] == "unauthenticated"
        other = await ticket(server, user="alice", scopes=["chat"])
        assert (await wire.ask("auth.refresh", {"token": other}))["payload"] == {"expires_at": None}
        assert (await wire.ask("session.whoami"))["payload"]["scopes"] == ["chat"]


async def test_a_ticket_may_be_for_nobody_in_particular(api: Config) -> None:
    async with run_server(config=api) as server:
        one = await ticket(server, scopes=["read"])
        async with Wire(server, query=f"?ticket={one}", welcomed=True) as wire:
            me = (await wire.ask("session.whoami"))["payload"]
            assert (me["user"], me["scopes"]) == (None, ["read"])


async def test_of_two_nodes_that_race_for_a_ticket_one_lets_its_client_in(api: Config) -> None:
    async with nodes(api) as servers:
        for _ in range(20):
            one = await ticket(servers[0], user="alice")

            async def connect(server: RunningServer, query: str = f"?ticket={one}") -> str:
                async with Wire(server, query=query) as wire:
                    return str((await wire.receive())["type"])

            outcomes = await asyncio.gather(*(connect(server) for server in servers * 2))
            assert sorted(outcomes) == ["goodbye", "goodbye", "goodbye", "welcome"]


async def test_a_ticket_is_gone_after_its_time(api: Config) -> None:
    quick = {**api, "api": {**api["api"], "ticket_ttl": "50ms"}}
    async with run_server(config=quick) as server:
        _, answer = await post(server, "tickets", {"user": "alice"})
        await wait_until(lambda: no_tickets(server))
        assert await close_code(server, query=f"?ticket={answer['ticket']}") == 4501


async def no_tickets(server: RunningServer) -> bool:
    prefix = server.node.settings.redis.prefix
    keys = await server.node.redis.execute("KEYS", f"{prefix}:ticket:*")
    return not keys


@pytest.mark.parametrize(
    "text",
    ["", "x", "jft_", f"jft_{'x' * 42}", f"jft_{'x' * 44}", f"jft_{'%2a' * 43}", "%FF", "x" * 9000],
)
async def test_what_is_no_ticket_is_refused_without_asking_redis(api: Config, text: str) -> None:
    async with run_server(config=api) as server:

        async def take(ticket: str) -> None:
            raise AssertionError(ticket)

        server.node.tickets.take = take  # type: ignore[method-assign]
        assert await close_code(server, query=f"?ticket={text}") == 4501


async def test_a_ticket_that_was_made_up_is_refused(api: Config) -> None:
    async with run_server(config=api) as server:
        assert await close_code(server, query=f"?ticket={new_ticket()}") == 4501


async def test_in_redis_there_is_only_a_digest_that_expires(api: Config) -> None:
    async with run_server(config=api) as server:
        one = await ticket(server, user="alice")
        redis, prefix = server.node.redis, server.node.settings.redis.prefix
        (key,) = await redis.execute("KEYS", f"{prefix}:ticket:*")
        assert one.encode() not in key + await redis.execute("GET", key)
        assert 0 < await redis.execute("PTTL", key) <= 30_000
        await post(server, "revoke", {"user": "alice"})
        await post(server, "disconnect", {"user": "alice"})
        await assert_every_key_expires(redis, f"{prefix}:*")


async def test_no_ticket_and_no_key_is_ever_logged(api: Config, logged: Callable[[], str]) -> None:
    async with run_server(config=api) as server:
        one = await ticket(server, user="alice")
        async with Wire(server, query=f"?ticket={one}", welcomed=True):
            pass
        assert await close_code(server, query=f"?ticket={one}") == 4501
        await post(server, "tickets", raw=b"{", key=KEY)
        await post(server, "tickets", key=f"x{KEY}")
    text = logged()
    assert "turned a client away" in text
    for secret in (one, KEY):
        assert secret not in text


# Revocation.


@pytest.mark.parametrize(
    ("subject", "revoked"),
    [({"token_id": "t1"}, {"t1"}), ({"user": "alice"}, {"t1", "t2"})],
)
async def test_what_is_revoked_is_closed_on_every_node_and_kept_out(
    api: Config, subject: dict[str, str], revoked: set[str]
) -> None:
    who = {
        "t1": bearer(jti="t1"),
        "t2": bearer(jti="t2"),
        "t3": bearer(jti="t3", sub="bob"),
    }
    async with nodes(api) as servers, AsyncExitStack() as stack:
        wires = [
            (name, await stack.enter_async_context(Wire(server, welcomed=True, **options)))
            for server in servers
            for name, options in who.items()
        ]
        began = time.monotonic()
        assert await post(servers[0], "revoke", subject) == (200, {})
        for name, wire in wires:
            if name in revoked:
                goodbye = (await wire.receive())["payload"]
                assert goodbye == {"code": 4502, "reason": "revoked", "reconnect": False}
                assert (await wire.closed())[0] == 4502
            else:
                assert (await wire.ask("session.ping"))["type"] == "reply"
        assert time.monotonic() - began < 10  # it is a second: a busy machine takes longer
        for server in servers:
            for name in revoked:
                assert await close_code(server, **who[name]) == 4502
                async with Wire(server) as wire:
                    text = who[name]["additional_headers"]["Authorization"].split()[1]
                    await wire.send({"type": "auth", "payload": {"token": text}})
                    assert (await wire.closed())[0] == 4502
            async with Wire(server, welcomed=True, **who["t3"]):
                pass


async def test_a_connection_is_revoked_by_its_id(api: Config) -> None:
    async with nodes(api) as servers:
        async with (
            Wire(servers[1], **bearer()) as wire,
            Wire(servers[1], welcomed=True, **bearer()) as other,
        ):
            connection = (await wire.receive())["payload"]["connection"]
            assert (await post(servers[0], "revoke", {"connection": connection}))[0] == 200
            assert (await wire.closed())[0] == 4502
            assert (await other.ask("session.ping"))["type"] == "reply"


async def test_a_user_comes_back_with_a_token_that_was_made_later(api: Config) -> None:
    async with run_server(config=api) as server:
        await post(server, "revoke", {"user": "alice"})
        await wait_until(lambda: server.node.revocations._entries)
        assert await close_code(server, **bearer(iat=None)) == 4502
        assert await close_code(server, **bearer(iat=time.time() - 5)) == 4502
        async with Wire(server, welcomed=True, **bearer(iat=time.time() + 5)):
            pass
        one = await ticket(server, user="alice")
        async with Wire(server, query=f"?ticket={one}", welcomed=True):
            pass


async def test_a_ticket_from_before_is_revoked_with_its_user(api: Config) -> None:
    async with run_server(config=api) as server:
        by_user = await ticket(server, user="alice")
        by_id = await ticket(server, user="bob", token_id="session-7")
        await post(server, "revoke", {"user": "alice"})
        await post(server, "revoke", {"token_id": "session-7"})
        await wait_until(lambda: len(server.node.revocations._entries) == 2)
        assert await close_code(server, query=f"?ticket={by_user}") == 4502
        assert await close_code(server, query=f"?ticket={by_id}") == 4502


async def test_a_revoked_token_does_not_refresh_a_connection(api: Config) -> None:
    async with run_server(config=api) as server:
        async with Wire(server, welcomed=True, **bearer(jti="t1")) as wire:
            await post(server, "revoke", {"token_id": "t2"})
            await wait_until(lambda: server.node.revocations._entries)
            answer = await wire.ask("auth.refresh", {"token": token(jti="t2")})
            assert answer["error"]["code"] == "unauthenticated"
            assert (await wire.ask("session.ping"))["type"] == "reply"


async def test_a_node_that_comes_later_knows_what_was_revoked(api: Config) -> None:
    async with run_server(config=api) as server:
        await post(server, "revoke", {"token_id": "t1"})
    async with run_server(config=api) as server:
        assert await close_code(server, **bearer(jti="t1")) == 4502


async def test_what_a_node_could_not_hear_of_it_learns_afterwards(api: Config) -> None:
    async with nodes(api) as (one, other):
        async with Wire(other, welcomed=True, **bearer(jti="t1")) as wire:
            store = other.node.revocations._store
            read = store.read

            async def away(known: int) -> Any:
                raise Error("unavailable")

            store.read = away  # type: ignore[method-assign]
            await post(one, "revoke", {"token_id": "t1"})
            await wait_until(lambda: one.node.revocations._entries)
            assert (await wire.ask("session.ping"))["type"] == "reply"
            store.read = read  # type: ignore[method-assign]
            assert (await wire.closed())[0] == 4502


async def test_what_is_revoked_survives_a_redis_that_was_flushed(tmp_path: Path) -> None:
    async with own_redis() as (config, redis):
        async with run_server(config=with_keys(config, tmp_path)) as server:
            await post(server, "revoke", {"token_id": "t1"})
            await wait_until(lambda: server.node.revocations._entries)
            await redis.flushall()
            await wait_until(lambda: redis.exists(server.node.keys.revoked))
            assert await close_code(server, **bearer(jti="t1")) == 4502
        async with run_server(config=with_keys(config, tmp_path)) as server:
            assert await close_code(server, **bearer(jti="t1")) == 4502


async def test_a_revocation_is_forgotten_once_nothing_of_it_can_be_valid(api: Config) -> None:
    async with run_server(config=api) as server:
        await post(server, "revoke", {"token_id": "t1", "expires_in": 1})
        await post(server, "revoke", {"token_id": "t2", "expires_in": 100})
        await wait_until(lambda: len(server.node.revocations._entries) == 2)
        redis, keys = server.node.redis, server.node.keys
        for key in (keys.revoked, keys.revoked_until):
            assert 90_000 < await redis.execute("PTTL", key) <= 100_000

        async def can_connect() -> bool:
            async with Wire(server, **bearer(jti="t1")) as wire:
                return bool((await wire.receive())["type"] == "welcome")

        await wait_until(can_connect)
        await post(server, "revoke", {"token_id": "t3"})
        assert await redis.execute("ZCARD", keys.revoked) == 2
        assert await redis.execute("ZCARD", keys.revoked_until) == 2


async def test_nobody_is_let_in_before_it_is_known_what_is_revoked(
    api: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: Revocations) -> None:
        raise Error("unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(Revocations, "poll", away)
        async with run_server(config=api) as server:
            with pytest.raises(Exception, match="503"):
                await close_code(server, **bearer())
            patched.undo()
            await wait_until(lambda: server.node.revocations.is_ready)
            async with Wire(server, welcomed=True, **bearer()) as wire:
                assert (await wire.ask("session.ping"))["type"] == "reply"


# Disconnection.


@pytest.mark.parametrize("by", ["user", "connection"])
async def test_who_is_disconnected_is_asked_to_come_back_and_can(api: Config, by: str) -> None:
    async with nodes(api) as servers:
        async with (
            Wire(servers[1], **bearer()) as wire,
            Wire(servers[1], welcomed=True, **bearer(sub="bob")) as other,
        ):
            welcome = (await wire.receive())["payload"]
            assert (await post(servers[0], "disconnect", {by: welcome[by]}))[0] == 200
            goodbye = (await wire.receive())["payload"]
            assert (goodbye["code"], goodbye["reconnect"]) == (4001, True)
            assert await wire.closed() == (4001, "disconnected")
            assert (await other.ask("session.ping"))["type"] == "reply"
        async with Wire(servers[1], welcomed=True, **bearer()) as wire:
            assert (await wire.ask("session.ping"))["type"] == "reply"
