"""``session.*`` tells a connection what it asks about itself, and no more."""

from typing import Any

import pytest

from jackfield_handlers.session import Describe, WhoAmI, describe, ping, session, whoami
from tests.support.handler_context import AskedContext, faults, load


@pytest.mark.parametrize(
    ("user", "scopes", "expires_at"),
    [("alice", frozenset({"write", "read"}), 12.5), (None, frozenset(), None)],
    ids=["user", "anonymous"],
)
async def test_whose_the_connection_is(
    user: str | None, scopes: frozenset[str], expires_at: float | None
) -> None:
    ctx: Any = AskedContext(user=user, scopes=scopes, connection="c1", expires_at=expires_at)
    reply = await whoami(ctx, {})
    assert reply == {
        "user": user,
        "scopes": sorted(scopes),
        "connection": "c1",
        "expires_at": expires_at,
    }
    assert WhoAmI().validate(reply) == {}


async def test_a_ping_comes_back_as_it_went() -> None:
    ctx: Any = AskedContext()
    payload = {"any": [1, {"thing": None}]}
    assert await ping(ctx, payload) is payload


@pytest.mark.parametrize(
    ("payload", "asked"), [({}, None), ({"type": "topic.publish"}, "topic.publish")]
)
async def test_one_type_is_described_or_all(payload: dict[str, str], asked: str | None) -> None:
    ctx: Any = AskedContext({"types": []})
    ctx.describe = ctx.method("describe")
    assert await describe(ctx, load(Describe, **payload)) == {"types": []}
    assert ctx.calls == [("describe", (asked,), {})]


def test_a_type_is_a_text() -> None:
    assert list(faults(Describe, type=5)) == ["type"]


def test_everybody_may_ask() -> None:
    assert {handler.type: handler.scopes for handler in session.handlers.values()} == dict.fromkeys(
        ("session.whoami", "session.ping", "session.describe"), frozenset()
    )
