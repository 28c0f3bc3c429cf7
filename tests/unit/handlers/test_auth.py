"""``auth.refresh`` hands a token of any possible length on, and says until when it is good."""

import pytest

from jackfield.auth import MAX_TOKEN_LENGTH
from jackfield_handlers.auth import Refresh, Refreshed, auth, refresh
from tests.support.handler_context import AskedContext, faults, load


@pytest.mark.parametrize("expires_at", [12.5, None])
async def test_the_token_is_exchanged_and_its_end_told(expires_at: float | None) -> None:
    ctx = AskedContext(expires_at)
    ctx.refresh_identity = ctx.coroutine("refresh_identity")  # type: ignore[attr-defined]
    reply = await refresh(ctx, load(Refresh, token="new"))  # type: ignore[arg-type]
    assert ctx.calls == [("refresh_identity", ("new",), {})]
    assert reply == {"expires_at": expires_at}
    assert Refreshed().validate(reply) == {}


def test_a_token_has_the_length_that_authenticators_take() -> None:
    assert load(Refresh, token="x" * MAX_TOKEN_LENGTH)
    for token in ("", "x" * (MAX_TOKEN_LENGTH + 1), 5, None):
        assert list(faults(Refresh, token=token)) == ["token"]
    assert list(faults(Refresh)) == ["token"]


def test_the_plugin_has_one_type() -> None:
    assert [handler.type for handler in auth.handlers.values()] == ["auth.refresh"]
