"""A type's rate is each connection's own, and to wait as long as one is told is enough."""

from collections.abc import Callable

import pytest

from jackfield import Error
from jackfield.connection.connection import Connection
from jackfield.connection.running import MessageOptions
from jackfield.dispatch.rate_limits import check_rate
from jackfield.wire.rates import Rate
from tests.support.connected import Connected


def options(rate: Rate) -> MessageOptions:
    return MessageOptions(
        "a.b", scopes=frozenset(), rate=rate, streams=False, concurrent=False, timeout=None
    )


def allowed(connection: Connection, limited: MessageOptions, rate: Rate) -> int:
    """How many of 20 messages are let through."""
    let_through = 0
    for _ in range(20):
        try:
            check_rate(connection, limited, rate)
        except Error:
            continue
        let_through += 1
    return let_through


async def test_each_connection_has_its_own_for_each_type() -> None:
    rate, one, other = Rate(3, 3600), Connected().connection, Connected().connection
    first, second = options(rate), options(rate)
    assert allowed(one, first, rate) == 3
    assert allowed(one, first, rate) == 0
    assert allowed(one, second, rate) == 3
    assert allowed(other, first, rate) == 3


async def test_a_refusal_says_when_to_come_back() -> None:
    rate, connection = Rate(1, 60), Connected().connection
    limited = options(rate)
    check_rate(connection, limited, rate)
    with pytest.raises(Error) as refused:
        check_rate(connection, limited, rate)
    assert refused.value.code == "rate_limited"
    assert 59 < refused.value.extra["retry_after"] <= 60


async def test_whoever_waits_as_long_as_that_is_let_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rate, connection = Rate(1, 60), Connected().connection
    limited = options(rate)

    class Later:
        """The loop, some time later."""

        def __init__(self, now: Callable[[], float], seconds: float) -> None:
            self.now, self.seconds = now, seconds

        def time(self) -> float:
            return self.now() + self.seconds

    check_rate(connection, limited, rate)
    with pytest.raises(Error) as refused:
        check_rate(connection, limited, rate)
    later = Later(connection.loop.time, refused.value.extra["retry_after"])
    monkeypatch.setattr(connection, "loop", later)
    check_rate(connection, limited, rate)
