"""Who is refused for now is told so, and when to come back; what is final is told as final."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from jackfield import Context, Error, Plugin
from jackfield.auth import Credentials
from jackfield.testing import RunningServer, run_server
from jackfield.wire.identity import Identity
from tests.support.tokens import AUDIENCE, ISSUER, issuing, jwk, jwt_section, private_key, token
from tests.support.waiting import wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]

PAGE = "https://app.example.com"


def named(text: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {text}"}}


async def goodbye(wire: Wire) -> Any:
    """What the server says before it closes; errors before it are dropped."""
    while (message := await wire.receive())["type"] == "error":
        pass
    assert message["type"] == "goodbye", message
    return message["payload"]


class Everyone:
    """Believes what a client says, as no authenticator should."""

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        return None if credentials.source == "none" else Identity(credentials.token)


async def say_who(wire: Wire, text: str) -> None:
    await wire.send({"type": "auth", "payload": {"token": text}})


async def test_a_plugin_that_refuses_for_now_says_when_to_come_back(config: Config) -> None:
    plugin = Plugin("busy")

    @plugin.on_connect
    async def on_connect(ctx: Context) -> None:
        raise Error("busy.full", "All rooms are full.", retryable=True, retry_after=7.25)

    async with run_server(plugin, config=config) as server, Wire(server) as wire:
        assert (await wire.receive())["error"]["code"] == "busy.full"
        told = {"code": 4006, "reason": "busy.full", "reconnect": True, "after": 7.3}
        assert (await wire.receive())["payload"] == told
        assert await wire.closed() == (4006, "busy.full")


async def test_a_user_with_too_many_connections_may_come_back(config: Config) -> None:
    one_each = {
        **config,
        "limits": {"connections_per_user": 1},
        "connections": {"heartbeat": "7s", "ttl": "20s"},
    }
    full = {"code": 4006, "reason": "connection limit", "reconnect": True, "after": 7.0}
    async with run_server(config=one_each, authenticators=[Everyone()]) as server:
        async with Wire(server, welcomed=True, **named("alice")):
            async with Wire(server, **named("alice")) as second:
                assert await goodbye(second) == full
                assert await second.closed() == (4006, "connection limit")
            async with Wire(server) as third:
                await say_who(third, "alice")
                assert await goodbye(third) == full
                assert await third.closed() == (4006, "connection limit")
            async with Wire(server, welcomed=True, **named("bob")):
                pass
        await wait_until(lambda: not server.node.permits.by_user)


async def test_the_newest_connection_displaces_its_users_oldest(config: Config) -> None:
    newest = {
        **config,
        "limits": {"connections_per_user": 2},
        "connections": {"when_full": "newest"},
    }
    displaced = {"code": 4504, "reason": "displaced", "reconnect": False}
    async with run_server(config=newest, authenticators=[Everyone()]) as server:
        async with (
            Wire(server, welcomed=True, **named("bob")) as other,
            Wire(server, welcomed=True, **named("alice")) as first,
            Wire(server, welcomed=True, **named("alice")) as second,
            Wire(server) as third,
        ):
            await say_who(third, "alice")
            assert (await third.receive())["type"] == "welcome"
            assert await goodbye(first) == displaced
            assert await first.closed() == (4504, "displaced")
            async with Wire(server, welcomed=True, **named("alice")) as fourth:
                assert await goodbye(second) == displaced
                for wire in (other, third, fourth):
                    assert (await wire.ask("session.ping"))["type"] == "reply"
        await wait_until(lambda: not server.node.permits.by_user)


async def test_a_full_server_answers_before_the_upgrade(config: Config) -> None:
    limited = {
        **config,
        "limits": {"connections": 1},
        "connections": {"heartbeat": "7s", "ttl": "20s"},
    }
    async with run_server(config=limited) as server:
        async with Wire(server, welcomed=True):
            with pytest.raises(InvalidStatus) as refused:
                await Wire(server).__aenter__()
            answer = refused.value.response
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
            assert b'"code":"unavailable"' in answer.body
        await wait_until(lambda: server.node.permits.taken == 0)
        async with Wire(server, welcomed=True):
            pass


async def refusals(server: RunningServer, text: str) -> list[Any]:
    """What is said to a token in the header, and to the same in the first message."""
    said = []
    async with Wire(server, **named(text)) as wire:
        said.append(await goodbye(wire))
    async with Wire(server) as wire:
        await say_who(wire, text)
        said.append(await goodbye(wire))
    return said


def ahead(claim: str, seconds: float) -> Any:
    return {claim: time.time() + seconds}


@pytest.mark.parametrize("claim", ["iat", "nbf"])
async def test_a_token_of_a_fast_clock_is_refused_for_the_difference(
    config: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str], claim: str
) -> None:
    auth = {**config, "auth": {"jwt": jwt_section(tmp_path)}}
    async with run_server(config=auth) as server:
        for said in await refusals(server, token(**ahead(claim, 12))):
            assert (said["code"], said["reconnect"]) == (4006, True)
            assert 0 < said["after"] <= 2.2  # it may differ by ten seconds anyway
        for said in await refusals(server, token(**ahead(claim, 90))):
            assert (said["code"], said["reconnect"]) == (4501, False)
        # What is wrong for another reason stays so.
        expired = token(exp=time.time() - 60, **ahead(claim, 12))
        assert [said["code"] for said in await refusals(server, expired)] == [4002, 4002]
    assert "clock skew" in capfd.readouterr().out


async def test_a_token_whose_key_was_published_just_now_is_refused_for_now(config: Config) -> None:
    fresh, made_up = private_key("P-256", 1), private_key("P-256", 2)
    async with issuing() as issuer:
        issuer.keys = [jwk("ES256", "P-256", kid="one")]
        section = {"algorithms": ["ES256"], "audience": AUDIENCE, "issuer": ISSUER}
        auth = {**config, "auth": {"jwt": {**section, "jwks_url": issuer.url}}}
        async with run_server(config=auth) as server:
            stranger = token(made_up, "ES256", {"kid": "made up"})
            assert [each["code"] for each in await refusals(server, stranger)] == [4006, 4006]
            issuer.keys.append(jwk("ES256", "P-256", 1, kid="two"))
            for said in await refusals(server, token(fresh, "ES256", {"kid": "two"})):
                assert (said["code"], said["reconnect"]) == (4006, True)
                assert 20 < said["after"] <= 30.1  # the set was fetched at the start
            assert issuer.fetched == 1


async def test_a_refused_origin_is_named_with_the_line_to_add(
    config: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    allowed = {**config, "auth": {"anonymous": True, "origins": [PAGE]}}
    async with run_server(config=allowed) as server:
        async with Wire(server, origin="https://new.example.com") as wire:
            assert (await wire.closed())[0] == 4503
    log = capfd.readouterr().out
    assert "https://new.example.com" in log
    assert f'origins = ["{PAGE}", "https://new.example.com"]' in log
