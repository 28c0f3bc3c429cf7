"""A client is let in by its origin, subprotocol and credentials, or by its first message."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import WSMessage, WSMsgType, web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from jackfield import Error
from jackfield.auth import Credentials
from jackfield.auth.chain import AuthenticatorChain, RefusedError
from jackfield.auth.revocations import Revocations
from jackfield.config import AuthSettings, load_settings
from jackfield.connection.websocket import Socket
from jackfield.session.handshake import (
    admit,
    find_credentials,
    identify_by_message,
    subprotocols,
)
from jackfield.session.receiver import Receiver
from jackfield.telemetry.log import RateLimitedLog
from jackfield.wire import frames
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.identity import ANONYMOUS, Identity
from jackfield.wire.protocol import JSON, MSGPACK, Codec
from tests.support.connected import Connected

ORIGIN = "https://app.example"
ALICE = Identity("alice")


class Nothing:
    """Revocations of nobody."""

    is_ready = True

    def is_revoked(self, *_: object) -> bool:
        return False


class Knows:
    """Knows one token, and lets in who sends nothing if it is told so."""

    def __init__(self, *, anonymous: bool = False) -> None:
        self.anonymous = anonymous
        self.asked: list[tuple[str, str]] = []

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        self.asked.append((credentials.source, credentials.token))
        if credentials.source == "none":
            return ANONYMOUS if self.anonymous else None
        if credentials.token != "alice's":
            raise Error("unauthenticated", "No such token.")
        return ALICE


def chain(knows: Knows) -> AuthenticatorChain:
    return AuthenticatorChain([knows], cast(Revocations, Nothing()))


def settings(cookie: str | None = None) -> AuthSettings:
    return replace(load_settings(None, {}, {}).auth, origins=(ORIGIN,), cookie=cookie)


def request(path: str = "/ws", headers: Sequence[tuple[str, str]] = ()) -> web.Request:
    return make_mocked_request("GET", path, headers=CIMultiDict(headers))


async def admitted(headers: Sequence[tuple[str, str]], knows: Knows | None = None) -> Any:
    return await admit(request(headers=headers), settings(), chain(knows or Knows(anonymous=True)))


@pytest.mark.parametrize("headers", [[], [("Origin", ORIGIN)]])
async def test_programs_and_pages_of_the_allowed_origins_are_let_in(
    headers: list[tuple[str, str]],
) -> None:
    assert await admitted(headers) == (ANONYMOUS, JSON)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", ORIGIN + ":444"])
async def test_a_page_of_another_origin_is_refused_before_anyone_is_asked(origin: str) -> None:
    knows = Knows()
    with pytest.raises(RefusedError) as refused:
        await admitted([("Origin", origin)], knows)
    assert refused.value.code is CloseCode.FORBIDDEN
    assert refused.value.error.code == "forbidden"
    assert knows.asked == []


@pytest.mark.parametrize(
    ("offered", "codec"),
    [
        (["jackfield.v1"], JSON),
        (["jackfield.v1.msgpack"], MSGPACK),
        (["soap, jackfield.v1.msgpack , jackfield.v1"], MSGPACK),
        (["soap", "jackfield.v1"], JSON),
        ([" , "], JSON),
    ],
)
async def test_the_first_subprotocol_that_is_spoken_is_chosen(
    offered: list[str], codec: Codec
) -> None:
    chosen = await admitted([("Sec-WebSocket-Protocol", each) for each in offered])
    assert chosen.codec is codec


async def test_without_a_subprotocol_that_is_spoken_a_client_is_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        await admitted([("Sec-WebSocket-Protocol", "soap, jackfield.v2")])
    assert refused.value.code is CloseCode.FORBIDDEN


def test_subprotocols_are_listed_in_the_clients_order() -> None:
    headers = [("Sec-WebSocket-Protocol", "b, a"), ("Sec-WebSocket-Protocol", " c,")]
    assert subprotocols(request(headers=headers)) == ["b", "a", "c"]


BEARER = ("Authorization", "Bearer  alice's ")
COOKIE = ("Cookie", "token=alice's")


@pytest.mark.parametrize(
    ("path", "headers", "found"),
    [
        ("/ws", [BEARER], ("bearer", "alice's")),
        ("/ws?ticket=t", [("Authorization", "bearer a")], ("bearer", "a")),
        ("/ws?ticket=t", [("Authorization", "Basic a")], ("ticket", "t")),
        ("/ws?ticket=", [], ("ticket", "")),
        ("/ws?ticket=t", [COOKIE, ("Origin", ORIGIN)], ("ticket", "t")),
        ("/ws", [COOKIE, ("Origin", ORIGIN)], ("cookie", "alice's")),
        ("/ws", [COOKIE], ("none", "")),
        ("/ws", [("Cookie", "other=x"), ("Origin", ORIGIN)], ("none", "")),
        ("/ws", [], ("none", "")),
    ],
)
def test_the_first_kind_of_credentials_counts(
    path: str, headers: list[tuple[str, str]], found: tuple[str, str]
) -> None:
    asking = request(path, headers)
    credentials = find_credentials(asking, settings(cookie="token"))
    assert (credentials.source, credentials.token) == found
    assert credentials.request is asking


def test_a_cookie_counts_only_where_one_is_configured() -> None:
    asking = request(headers=[COOKIE, ("Origin", ORIGIN)])
    assert find_credentials(asking, settings()).source == "none"


async def test_credentials_that_are_refused_are_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        await admitted([("Authorization", "Bearer bob's")], Knows())
    assert refused.value.code is CloseCode.UNAUTHENTICATED


async def test_who_sends_none_may_still_say_who_it_is() -> None:
    assert await admitted([], Knows()) == (None, JSON)


class First:
    """A client that has yet to say who it is."""

    def __init__(self, *frames: WSMessage, codec: Codec = JSON) -> None:
        self._frames = list(frames)
        self.knows = Knows()
        self.receiver = Receiver(
            cast(Socket, self),
            codec.opcode,
            cast(Any, None),
            in_flight=1,
            log=cast(RateLimitedLog, None),
        )
        self.client = Connected(codec=codec)

    async def receive(self) -> WSMessage:
        if not self._frames:
            await asyncio.Event().wait()
        return self._frames.pop(0)

    async def identity(self, timeout: float = 3600.0) -> Identity | None:  # noqa: ASYNC109
        return await identify_by_message(
            self.client.connection, self.receiver, chain(self.knows), timeout=timeout
        )

    async def refusal(self, **options: Any) -> RefusedError:
        with pytest.raises(RefusedError) as refused:
            await self.identity(**options)
        return refused.value


def text(data: bytes) -> WSMessage:
    return WSMessage(WSMsgType.TEXT, data, None)


def frame(kind: WSMsgType, data: Any = b"") -> WSMessage:
    return WSMessage(kind, data, None)


AUTH = b'{"type":"auth","id":1,"payload":{"token":"alice\'s"}}'
PING, PONG = frame(WSMsgType.PING, b"!"), frame(WSMsgType.PONG)


async def test_the_first_message_says_who_it_is() -> None:
    first = First(text(AUTH))
    assert await first.identity() is ALICE
    assert first.knows.asked == [("message", "alice's")]
    assert first.client.sent() == []


async def test_it_may_be_messagepack() -> None:
    data = b"\x82\xa4type\xa4auth\xa7payload\x81\xa5token\xa7alice's"
    assert await First(frame(WSMsgType.BINARY, data), codec=MSGPACK).identity() is ALICE


async def test_pings_before_it_are_answered_and_pongs_let_pass() -> None:
    first = First(PING, PONG, text(AUTH))
    assert await first.identity() is ALICE
    assert first.client.sent() == [frames.frame(frames.PONG, b"!")]


async def test_so_many_frames_may_come_before_it() -> None:
    assert await First(*[PONG] * 9, text(AUTH)).identity() is ALICE
    refused = await First(*[PONG] * 10, text(AUTH)).refusal()
    assert (refused.code, refused.error.code) == (CloseCode.TOO_MANY_REQUESTS, "rate_limited")


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"chat.send","payload":{"token":"alice\'s"}}',
        b'{"type":"auth","payload":{}}',
        b'{"type":"auth","payload":{"token":7}}',
        b'{"type":"auth","payload":{"token":"alice\'s","more":1}}',
    ],
)
async def test_any_other_message_is_refused_with_what_it_should_be(data: bytes) -> None:
    first = First(text(data))
    refused = await first.refusal()
    assert refused.code is CloseCode.UNAUTHENTICATED
    (answer,) = first.client.sent()
    assert answer["id"] is None
    assert '{"type": "auth", "payload": {"token": "..."}}' in answer["error"]["message"]


async def test_a_token_that_is_refused_is_answered_under_its_id() -> None:
    first = First(text(AUTH.replace(b"alice", b"bob")))
    refused = await first.refusal()
    assert refused.code is CloseCode.UNAUTHENTICATED
    (answer,) = first.client.sent()
    assert (answer["id"], answer["error"]["code"]) == (1, "unauthenticated")


@pytest.mark.parametrize(
    ("sent", "code", "answered"),
    [
        (text(b"{"), CloseCode.UNAUTHENTICATED, True),
        (text(b'"\xff"'), CloseCode.INVALID_TEXT, False),
        (frame(WSMsgType.BINARY), CloseCode.UNSUPPORTED_DATA, False),
    ],
)
async def test_what_is_no_message_is_refused(
    sent: WSMessage, code: CloseCode, *, answered: bool
) -> None:
    first = First(sent)
    assert (await first.refusal()).code is code
    assert bool(first.client.sent()) is answered


async def test_who_says_nothing_in_time_is_refused() -> None:
    refused = await First().refusal(timeout=0)
    assert (refused.code, refused.error.code) == (
        CloseCode.AUTHENTICATION_TIMEOUT,
        "unauthenticated",
    )


async def test_who_leaves_before_is_nobody() -> None:
    last = frame(WSMsgType.CLOSE, 1000)
    first = First(last)
    assert await first.identity() is None
    assert first.receiver.ended_by is last


async def test_who_is_being_closed_is_nobody_and_not_asked_for() -> None:
    first = First(text(AUTH))
    first.client.connection.close(CloseCode.SHUTDOWN)
    assert await first.identity() is None
    assert first.knows.asked == []
