"""Who a connection belongs to: where that is looked for, what a stranger may do, and until when."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest
from marshmallow import Schema, fields
from websockets.exceptions import ConnectionClosed as WireClosed

from jackfield import AnyPayload, Context, Error, Plugin
from jackfield.auth import Anonymous, Credentials
from jackfield.testing import RunningServer, run_server
from jackfield.topics.membership import MEMBERSHIP
from jackfield.wire.identity import Identity
from tests.support.tokens import forged, jwt_section, public_pem, token
from tests.support.waiting import wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]

PAGE = "https://app.example.com"
TOO_LATE = "did not authenticate in time"


@pytest.fixture
def auth(config: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A configuration with `[auth.jwt]`, and nobody anonymous."""
    section = {"jwt": jwt_section(tmp_path), "origins": [PAGE], "cookie": "session"}
    return {**config, "auth": section}


def changed(config: Config, **changes: Any) -> dict[str, Any]:
    """The same, with something else in `[auth]`."""
    return {**config, "auth": {**config["auth"], **changes}}


def bearer(text: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {text}"}}


async def welcome(wire: Wire) -> Any:
    message = await wire.receive()
    assert message["type"] == "welcome", message
    return message["payload"]


async def whoami(server: RunningServer, **options: Any) -> Any:
    """Whose a connection is that sends something with its request."""
    async with Wire(server, welcomed=True, **options) as wire:
        return (await wire.ask("session.whoami"))["payload"]


async def close_code(server: RunningServer, **options: Any) -> int | None:
    async with Wire(server, **options) as wire:
        return (await wire.closed())[0]


async def ping_until_closed(wire: Wire) -> None:
    with suppress(WireClosed):
        while True:
            await (await wire.socket.ping())


async def say_who(wire: Wire, text: Any, **more: Any) -> None:
    await wire.send({"type": "auth", "payload": {"token": text}, **more})


# Where it is looked for.


async def test_a_bearer_token_is_taken(auth: Config) -> None:
    exp = int(time.time()) + 60
    async with run_server(config=auth) as server:
        me = await whoami(server, **bearer(token(scope="chat", exp=exp)))
    assert (me["user"], me["scopes"], me["expires_at"]) == ("alice", ["chat"], exp)


async def test_the_first_that_is_sent_decides(auth: Config) -> None:
    cookie = f"session={token(sub='carol')}"
    async with run_server(config=auth) as server:
        headers = {"Cookie": cookie, "Origin": PAGE}
        assert (await whoami(server, additional_headers=headers))["user"] == "carol"
        both = {**headers, "Authorization": f"Bearer {token()}"}
        assert (await whoami(server, additional_headers=both))["user"] == "alice"
        # What is wrong is not made up for by what comes after it.
        wrong = {**headers, "Authorization": "Bearer wrong"}
        assert await close_code(server, additional_headers=wrong) == 4501
        # What isn't a bearer token is for somebody else, such as a proxy.
        basic = {**headers, "Authorization": "Basic dXNlcjpwYXNz"}
        assert (await whoami(server, additional_headers=basic))["user"] == "carol"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (token(exp=time.time() - 60), 4002),
        (token(aud="others"), 4501),
        (forged({"alg": "none"}), 4501),
        (token(headers={"crit": ["x"], "x": 1}), 4501),
        (token(public_pem("RSA").replace("-", "="), "HS256"), 4501),
        (token("another secret that is long enough"), 4501),
        ("opaque", 4501),
        ("", 4501),
    ],
)
async def test_a_token_that_is_refused_closes_with_its_code(
    auth: Config, text: str, code: int
) -> None:
    async with run_server(config=auth) as server:
        assert await close_code(server, **bearer(text)) == code
        async with Wire(server) as wire:
            await say_who(wire, text, id=7)
            error = await wire.receive()
            assert (error["type"], error["id"]) == ("error", 7)
            assert error["error"]["code"] in ("unauthenticated", "token_expired")
            assert (await wire.receive())["type"] == "goodbye"
            assert (await wire.closed())[0] == code
        assert server.node.permits.taken == 0


async def test_a_token_has_no_place_in_a_url(auth: Config) -> None:
    async with run_server(config=auth) as server:
        assert await close_code(server, query=f"?ticket={token()}") == 4501
        async with Wire(server, query=f"?token={token()}") as wire:  # it means nothing
            await say_who(wire, token())
            await welcome(wire)


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example.com", "null", ""])
async def test_a_page_of_a_foreign_origin_gains_nothing_by_the_cookie(
    auth: Config, origin: str
) -> None:
    headers = {"Cookie": f"session={token()}", "Origin": origin}
    async with run_server(config=auth) as server:
        assert await close_code(server, additional_headers=headers) == 4503


async def test_a_cookie_without_an_origin_counts_for_nothing(auth: Config) -> None:
    headers = {"Cookie": f"session={token()}"}
    async with run_server(config=changed(auth, timeout="100ms")) as server:
        assert await close_code(server, additional_headers=headers) == 4505
    async with run_server(config=changed(auth, anonymous=True)) as server:
        assert (await whoami(server, additional_headers=headers))["user"] is None


async def test_a_cookie_counts_only_where_it_is_configured(auth: Config) -> None:
    headers = {"Cookie": f"session={token()}", "Origin": PAGE}
    config = changed(auth, timeout="100ms")
    del config["auth"]["cookie"]
    async with run_server(config=config) as server:
        assert await close_code(server, additional_headers=headers) == 4505


async def test_whoever_sends_nothing_is_anonymous_where_that_is_allowed(auth: Config) -> None:
    async with run_server(config=changed(auth, anonymous=True)) as server:
        me = await whoami(server)
        assert (me["user"], me["scopes"], me["expires_at"]) == (None, [], None)
        # To send something wrong is not to send nothing.
        assert await close_code(server, **bearer("wrong")) == 4501


# The first message.


@pytest.mark.parametrize("subprotocol", ["jackfield.v1", "jackfield.v1.msgpack", None])
async def test_the_first_message_may_say_who_it_is(auth: Config, subprotocol: str | None) -> None:
    async with run_server(config=auth) as server, Wire(server, subprotocol=subprotocol) as wire:
        await say_who(wire, token())
        assert (await welcome(wire))["user"] == "alice"
        assert (await wire.ask("session.whoami"))["payload"]["user"] == "alice"


async def test_what_is_sent_right_behind_it_is_answered(auth: Config) -> None:
    async with run_server(config=auth) as server, Wire(server) as wire:
        await say_who(wire, token())
        await wire.send({"type": "session.ping", "id": 1})
        await welcome(wire)
        assert (await wire.receive())["id"] == 1


@pytest.mark.parametrize(
    "message",
    [
        {"type": "session.ping", "id": 7},
        {"type": "auth.refresh", "id": 7, "payload": {"token": token()}},
        {"type": "auth", "id": 7},
        {"type": "auth", "id": 7, "payload": {"token": 7}},
        {"type": "auth", "id": 7, "payload": {"token": token(), "user": "bob"}},
        {"type": "auth", "id": 7, "payload": {"token": token(), "more": 1}},
        {"type": "auth", "id": 7, "payload": {"token": token()}, "more": 1},
    ],
)
async def test_a_first_message_that_is_another_closes_with_4501(
    auth: Config, message: dict[str, Any]
) -> None:
    async with run_server(config=auth) as server, Wire(server) as wire:
        await wire.send(message)
        await wire.send({"type": "auth", "payload": {"token": token()}})  # too late
        error = await wire.receive()
        assert (error["type"], error["id"]) == ("error", 7)
        assert (await wire.receive())["payload"]["code"] == 4501
        assert (await wire.closed())[0] == 4501


@pytest.mark.parametrize(
    ("data", "code"), [("{", 4501), ("[" * 50_000, 4501), (b"{}", 1003), ("x" * 70_000, 1009)]
)
async def test_a_first_message_that_is_none_closes(
    auth: Config, data: str | bytes, code: int
) -> None:
    async with run_server(config=auth) as server, Wire(server) as wire:
        await wire.socket.send(data)
        assert (await wire.closed())[0] == code
        await wait_until(lambda: server.node.permits.taken == 0)


async def test_who_never_says_so_is_closed_with_4505(auth: Config) -> None:
    async with run_server(config=changed(auth, timeout="100ms")) as server, Wire(server) as wire:
        goodbye = await wire.receive()
        assert goodbye["payload"] == {"code": 4505, "reason": TOO_LATE, "reconnect": False}
        assert await wire.closed() == (4505, TOO_LATE)
        await wait_until(lambda: server.node.permits.taken == 0)


async def test_pings_are_answered_meanwhile_and_put_nothing_off(auth: Config) -> None:
    async with run_server(config=auth) as server, Wire(server) as wire:
        async with asyncio.timeout(10):
            await (await wire.socket.ping())
        await ping_until_closed(wire)
        assert (await wire.closed())[0] == 4005  # there are bounds to it


async def test_until_then_there_is_nothing_of_a_client_anywhere(auth: Config) -> None:
    plugin = Plugin("seen")
    seen: list[str | None] = []

    @plugin.on_connect
    async def on_connect(ctx: Context) -> None:
        seen.append(ctx.user)

    @plugin.on_disconnect
    async def on_disconnect(ctx: Context) -> None:
        seen.append(ctx.user)

    async with run_server(plugin, config=auth) as server:
        node = server.node
        async with Wire(server), Wire(server):
            await wait_until(lambda: node.permits.unidentified == 2)
            assert len(node.hub) == 0
            assert node.topics.members == 0
            assert await node.redis.execute("EXISTS", node.store._keys.node) == 0
        await wait_until(lambda: node.permits.unidentified == 0)
        assert seen == []
        async with Wire(server) as wire:
            await say_who(wire, token())
            await welcome(wire)
            assert node.permits.unidentified == 0
            assert len(node.hub) == 1
        await wait_until(lambda: seen == ["alice", "alice"])


async def test_only_so_many_may_be_unknown_and_who_waits_longest_makes_room(auth: Config) -> None:
    config = {**auth, "limits": {"unauthenticated": 2}}
    async with run_server(config=config) as server, Wire(server) as first:
        await wait_until(lambda: server.node.permits.unidentified == 1)
        async with Wire(server) as second, Wire(server) as third:
            assert (await first.closed())[0] == 4505
            for wire in (second, third):
                await say_who(wire, token())
                await welcome(wire)
            assert (await whoami(server, **bearer(token())))["user"] == "alice"


async def test_a_user_with_too_many_connections_is_closed_with_4504(auth: Config) -> None:
    config = {**auth, "limits": {"connections_per_user": 1}}
    async with run_server(config=config) as server:
        async with Wire(server, welcomed=True, **bearer(token())), Wire(server) as second:
            await say_who(second, token())
            assert (await second.closed())[0] == 4504
        await wait_until(lambda: not server.node.permits.by_user)


async def test_strangers_are_sent_home_with_the_others(auth: Config) -> None:
    async with run_server(config=auth) as server:
        async with Wire(server) as wire:
            await wait_until(lambda: server.node.permits.unidentified == 1)
            server.node.hub.draining = True
            draining = asyncio.create_task(server.node.hub.drain(1))
            assert (await wire.receive())["payload"]["code"] == 4001
            assert (await wire.closed())[0] == 4001
            await draining


# Authenticators of others.


class Corporate:
    """Knows one opaque token, and can't do all that it is asked."""

    entered = 0

    async def __aenter__(self) -> Self:
        self.entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.entered -= 1

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        match credentials.token:
            case "opaque":
                return Identity("corp", frozenset({"chat"}))
            case "away":
                raise Error("unavailable", retry_after=3)
            case "broken" | "":
                raise RuntimeError("hunter2")
        return None


async def test_an_authenticator_of_others_is_asked_in_its_turn(config: Config) -> None:
    corporate = Corporate()
    async with run_server(config=config, authenticators=[corporate, Anonymous()]) as server:
        assert corporate.entered == 1
        assert (await whoami(server, **bearer("opaque")))["user"] == "corp"
        assert await close_code(server, **bearer("unknown")) == 4501
    assert corporate.entered == 0


async def test_an_authenticator_that_raises_harms_nobody_whom_others_know(
    config: Config, logged: Callable[[], str]
) -> None:
    async with run_server(config=config, authenticators=[Corporate(), Anonymous()]) as server:
        # It raises about a client that has sent nothing as well.
        assert (await whoami(server))["user"] is None
    assert '"authenticator": "Corporate"' in logged()


@pytest.mark.parametrize("text", ["away", "broken"])
async def test_an_authenticator_that_cannot_tell_has_its_client_come_back(
    config: Config, text: str
) -> None:
    async with run_server(config=config, authenticators=[Corporate()]) as server:
        with pytest.raises(Exception, match="503"):
            await close_code(server, **bearer(text))
        # It raises about one that sends nothing too, and so may only come back.
        with pytest.raises(Exception, match="503"):
            await close_code(server)


# Until when.


class Answer(Schema):
    done = fields.Boolean()


@asynccontextmanager
async def alice(server: RunningServer, **claims: Any) -> AsyncIterator[Wire]:
    async with Wire(server, welcomed=True, **bearer(token(**claims))) as wire:
        yield wire


async def refresh(wire: Wire, **claims: Any) -> Any:
    return await wire.ask("auth.refresh", {"token": token(**claims)})


async def test_a_newer_token_of_the_same_user_replaces_the_old_one(auth: Config) -> None:
    exp = int(time.time()) + 1000
    async with run_server(config=auth) as server, alice(server, scope="a b") as wire:
        answer = await refresh(wire, scope="b c", exp=exp)
        assert answer["payload"] == {"expires_at": exp}
        me = (await wire.ask("session.whoami"))["payload"]
        assert (me["scopes"], me["expires_at"]) == (["b", "c"], exp)


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"sub": "bob"}, "forbidden"),
        ({"exp": 1}, "token_expired"),
        ({"aud": "others"}, "unauthenticated"),
    ],
)
async def test_a_token_that_does_not_do_changes_nothing(
    auth: Config, claims: dict[str, Any], code: str
) -> None:
    async with run_server(config=auth) as server, alice(server, scope="a") as wire:
        answer = await refresh(wire, scope="root", **claims)
        assert answer["error"]["code"] == code
        me = (await wire.ask("session.whoami"))["payload"]
        assert (me["user"], me["scopes"]) == ("alice", ["a"])


async def test_nobody_becomes_somebody_by_a_refresh(auth: Config) -> None:
    async with run_server(config=changed(auth, anonymous=True)) as server:
        async with Wire(server, welcomed=True) as wire:
            assert (await refresh(wire))["error"]["code"] == "forbidden"


async def test_scopes_are_those_of_the_newest_token(auth: Config) -> None:
    plugin = Plugin("admin")
    started = asyncio.Event()

    @plugin.handler("admin.act", scopes=["admin"], reply=Answer)
    async def act(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        return {"done": True}

    @plugin.handler("admin.wait", scopes=["admin"], concurrent=True)
    async def wait(ctx: Context, data: dict[str, Any]) -> None:
        started.set()
        await asyncio.Event().wait()

    async with run_server(plugin, config=auth) as server, alice(server) as wire:
        assert (await wire.ask("admin.act"))["error"]["code"] == "forbidden"
        assert (await refresh(wire, scope="admin"))["type"] == "reply"
        assert (await wire.ask("admin.act"))["type"] == "reply"
        # What still runs by a scope that is gone is stopped.
        await wire.send({"type": "admin.wait", "id": "wait"})
        await started.wait()
        await wire.send({"type": "auth.refresh", "id": 1, "payload": {"token": token()}})
        answers = {message["id"]: message for message in [await wire.receive() for _ in range(2)]}
        assert answers[1]["type"] == "reply"
        assert answers["wait"]["error"]["code"] == "forbidden"
        assert (await wire.ask("admin.act"))["error"]["code"] == "forbidden"


async def test_topics_that_are_not_for_the_newer_token_are_left(auth: Config) -> None:
    plugin = Plugin("rooms")
    plugin.topic("staff:{name}", AnyPayload, scopes=["staff"])
    moody = plugin.topic("moody:{name}", AnyPayload)
    broken = plugin.topic("broken:{name}", AnyPayload)
    moods = {"moody": True, "broken": False}

    @moody.authorize
    async def may_join(ctx: Context, name: str) -> bool:
        return moods["moody"] and ctx.has_scope("staff")

    @broken.authorize
    async def breaks(ctx: Context, name: str) -> bool:
        if moods["broken"]:
            raise RuntimeError("hunter2")
        return True

    async with run_server(plugin, config=auth) as server, alice(server, scope="staff") as wire:
        for topic in ("staff:one", "moody:one", "broken:one"):
            assert (await wire.ask("topic.subscribe", {"topic": topic}))["type"] == "reply"
        assert (await refresh(wire, scope="staff more"))["type"] == "reply"
        moods["broken"] = True
        await wire.send({"type": "auth.refresh", "id": 1, "payload": {"token": token()}})
        news = [await wire.receive() for _ in range(4)]
        assert {
            message["error"]["topic"]: message["error"]["code"]
            for message in news
            if message.get("id") is None
        } == {"staff:one": "forbidden", "moody:one": "forbidden", "broken:one": "internal"}
        assert "hunter2" not in json.dumps(news)
        (connection,) = server.node.hub
        assert {each.topic for each in connection[MEMBERSHIP].joined} == {"broadcast", "user:alice"}
        assert (await wire.ask("topic.subscribe", {"topic": "staff:one"}))["error"]["code"] == (
            "not_found"
        )


async def test_a_token_that_runs_out_is_told_of_and_then_closes_with_4002(auth: Config) -> None:
    config = changed(auth, warn_before="1h", grace="500ms")
    exp = int(time.time()) + 1
    async with run_server(config=config) as server, alice(server, exp=exp) as wire:
        warning = await wire.receive()
        assert (warning["type"], warning["id"]) == ("error", None)
        error = warning["error"]
        assert (error["code"], error["expires_at"]) == ("token_expired", exp)
        assert error["retryable"] is True
        goodbye = (await wire.receive())["payload"]
        assert (goodbye["code"], goodbye["reconnect"]) == (4002, True)
        assert (await wire.closed())[0] == 4002
        assert time.time() >= exp + 0.5


async def test_who_refreshes_in_time_stays(auth: Config) -> None:
    config = changed(auth, warn_before="1h", grace="0s")
    async with run_server(config=config) as server:
        async with alice(server, exp=int(time.time()) + 30) as wire:
            assert (await wire.receive())["error"]["code"] == "token_expired"
            answer = await refresh(wire, exp=int(time.time()) + 100_000)
            assert answer["type"] == "reply"
            (connection,) = server.node.hub
            deadlines = server.node.expiry._deadlines
            assert deadlines[connection].at > time.time() + 3600
        await wait_until(lambda: len(server.node.hub) == 0)
        assert not deadlines


# What is logged.


async def test_no_token_is_ever_logged(auth: Config, logged: Callable[[], str]) -> None:
    secret = token(jti="hunter2-of-the-token")
    signature = secret.rpartition(".")[2]
    async with run_server(config=auth) as server:
        assert (await whoami(server, **bearer(secret)))["user"] == "alice"
        for text in (f"{secret}x", f"x{secret}", secret.replace(".", " "), f"{secret}.{secret}"):
            assert await close_code(server, **bearer(text)) == 4501
            async with Wire(server) as wire:
                await say_who(wire, text)
                assert (await wire.closed())[0] == 4501
        async with alice(server) as wire:
            await wire.ask("auth.refresh", {"token": f"{secret}x"})
            await wire.ask("auth.refresh", {"token": f"{secret}{'x' * 9000}"})
            await wire.ask("auth.refresh", {"token": [secret]})
        for head in (
            f"GET /ws HTTP/1.1\r\nAuthorization: Bearer \0{secret}\r\n\r\n",
            f"GET /ws HTTP/1.1\r\nAuthorization Bearer {secret}\r\n\r\n",
            f"GET /ws HTTP/1.1\r\nAuthorization: Bearer {secret * 200}\r\n\r\n",
            f"GET /ws?ticket={secret}\0 HTTP/1.1\r\n\r\n",
            f"{secret}\r\n\r\n",
        ):
            await _send_raw(server, head.encode())
    text = logged()
    assert "turned a client away" in text
    assert signature not in text
    assert secret.partition(".")[2][:40] not in text
    assert "hunter2" not in text


async def _send_raw(server: RunningServer, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.address.rpartition(":")[2])
    writer.write(data)
    async with asyncio.timeout(10):
        await reader.read()
    writer.close()
