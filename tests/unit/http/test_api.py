"""An endpoint does what it says for who has its key, and answers all else with the reason."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiohttp import ClientResponse, ClientSession, web
from aiohttp.test_utils import TestServer

from jackfield.auth.revocations import RevocationKind, Revocations
from jackfield.config import ApiSettings
from jackfield.config.api_keys import ApiKey
from jackfield.http.api import API, ROUTES, ServerApi
from jackfield.store.tickets import TicketStore
from jackfield.wire.errors import Error

KEY = "k" * 32


class Tickets:
    """Keeps the tickets that are written, or fails."""

    def __init__(self) -> None:
        self.written: list[tuple[dict[str, Any], float]] = []
        self.fault: Exception | None = None

    async def write(self, ticket: str, grant: dict[str, Any], ttl: float) -> None:
        assert ticket
        if self.fault is not None:
            raise self.fault
        self.written.append((grant, ttl))


class Orders:
    """Keeps what is revoked and disconnected."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, ...]] = []

    async def revoke(self, kind: RevocationKind, value: str, lifetime: float) -> None:
        self.given.append((kind, value, lifetime))

    async def disconnect(self, kind: RevocationKind, value: str) -> None:
        self.given.append((kind, value))


class Serving:
    """The server API, with one key for everything but ``revoke``."""

    def __init__(self, *scopes: str) -> None:
        self.tickets, self.revocations = Tickets(), Orders()
        key = ApiKey(hashlib.sha256(KEY.encode()).digest(), frozenset(scopes))
        self.api = ServerApi(
            ApiSettings(keys=(key,), ticket_ttl=30.0),
            cast(TicketStore, self.tickets),
            cast(Revocations, self.revocations),
            revocation_ttl=86_400.0,
        )

    @asynccontextmanager
    async def post(
        self, path: str, body: Any = None, *, authorization: str | None = f"Bearer {KEY}"
    ) -> AsyncIterator[ClientResponse]:
        app = web.Application()
        app[API] = self.api
        app.add_routes(ROUTES)
        headers = {} if authorization is None else {"Authorization": authorization}
        data: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with TestServer(app) as server, ClientSession(server.make_url("/")) as http:
            async with http.post(f"/api/v1/{path}", headers=headers, **data) as response:
                assert response.headers["Cache-Control"] == "no-store"
                yield response

    async def refusal(self, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        async with self.post(path, body, **options) as response:
            assert response.content_type == "application/problem+json"
            return response.status, await response.json(content_type=None)


async def test_a_ticket_says_whom_it_lets_in() -> None:
    serving = Serving("tickets")
    body = {"user": "alice", "scopes": ["a"], "token_id": "t1"}
    async with serving.post("tickets", body) as response:
        assert response.status == 201
        answer = await response.json()
    assert (set(answer), answer["expires_in"]) == ({"ticket", "expires_in"}, 30.0)
    ((grant, ttl),) = serving.tickets.written
    assert (grant["user"], grant["scopes"], grant["token_id"], ttl) == ("alice", ["a"], "t1", 30.0)


@pytest.mark.parametrize(
    ("path", "body", "order"),
    [
        ("revoke", {"token_id": "t"}, (RevocationKind.TOKEN, "t", 86_400.0)),
        ("revoke", {"user": "u", "expires_in": 60}, (RevocationKind.USER, "u", 60.0)),
        ("revoke", {"connection": "c"}, (RevocationKind.CONNECTION, "c", 86_400.0)),
        ("disconnect", {"user": "u"}, (RevocationKind.DISCONNECT_USER, "u")),
        ("disconnect", {"connection": "c"}, (RevocationKind.DISCONNECT_CONNECTION, "c")),
    ],
)
async def test_what_is_revoked_or_disconnected_is_what_is_named(
    path: str, body: dict[str, Any], order: tuple[Any, ...]
) -> None:
    serving = Serving("revoke", "disconnect")
    async with serving.post(path, body) as response:
        assert (response.status, await response.json()) == (200, {})
    assert serving.revocations.given == [order]


@pytest.mark.parametrize(
    "authorization", [None, f"Basic {KEY}", "Bearer wrong", "Bearer", f"Bearer {KEY}x"]
)
async def test_without_a_good_key_nothing_is_done(authorization: str | None) -> None:
    serving = Serving("tickets")
    status, answer = await serving.refusal("tickets", {}, authorization=authorization)
    assert (status, answer["code"]) == (401, "unauthenticated")
    assert serving.tickets.written == []


async def test_a_key_without_the_scope_is_told_which_it_lacks() -> None:
    status, answer = await Serving("tickets").refusal("revoke", {"user": "u"})
    assert (status, answer["code"], answer["scopes"]) == (403, "forbidden", ["revoke"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b'"\xff"', 400, "invalid_json"),
        (b" " * 16_385, 413, "too_large"),
        ({"more": 1}, 422, "invalid_payload"),
        ({"scopes": ["two words"]}, 422, "invalid_payload"),
        ({"user": ""}, 422, "invalid_payload"),
        ({"token_id": "line\nbreak"}, 422, "invalid_payload"),
        ({"expires_in": 0}, 422, "invalid_payload"),
    ],
)
async def test_a_wrong_body_is_refused(body: Any, status: int, code: str) -> None:
    told, answer = await Serving("tickets").refusal("tickets", body)
    assert (told, answer["code"], answer["status"]) == (status, code, status)


async def test_a_body_of_just_the_limit_is_read() -> None:
    async with Serving("tickets").post("tickets", b"{}".ljust(16_384)) as response:
        assert response.status == 201


@pytest.mark.parametrize("body", [{}, {"user": "u", "connection": "c"}])
@pytest.mark.parametrize("path", ["revoke", "disconnect"])
async def test_exactly_one_subject_is_needed(path: str, body: dict[str, Any]) -> None:
    serving = Serving("revoke", "disconnect")
    status, answer = await serving.refusal(path, body)
    assert (status, serving.revocations.given) == (422, [])
    assert "Exactly one of" in answer["fields"][0]["message"]


async def test_a_token_can_not_be_disconnected() -> None:
    status, answer = await Serving("disconnect").refusal("disconnect", {"token_id": "t"})
    assert (status, answer["fields"][0]["pointer"]) == (422, "/token_id")


@pytest.mark.parametrize(("wait", "told"), [(0.2, "1"), (3.6, "4")])
async def test_while_redis_is_away_it_says_when_to_try_again(wait: float, told: str) -> None:
    serving = Serving("tickets")
    serving.tickets.fault = Error("unavailable", retry_after=wait)
    async with serving.post("tickets", {}) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, told)


async def test_a_fault_is_answered_with_its_incident(logged: Callable[[], str]) -> None:
    serving = Serving("tickets")
    serving.tickets.fault = RuntimeError("a secret")
    status, answer = await serving.refusal("tickets", {})
    assert (status, answer["code"]) == (500, "internal")
    assert answer["incident"] in logged()
    assert "secret" not in str(answer)
