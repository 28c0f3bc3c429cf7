"""A ticket proves an identity once, from where tickets may come."""

from types import SimpleNamespace
from typing import Any

import pytest

from jackfield.auth import Credentials, Source
from jackfield.auth.ticket import TICKETS, TicketAuthenticator, grant, new_ticket
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity

ALICE = Identity("alice", frozenset({"write", "read"}), expires_at=12.5, token_id="t1")


class Tickets:
    """Tickets that were written."""

    def __init__(self) -> None:
        self.granted: dict[str, dict[str, Any]] = {}
        self.taken: list[str] = []

    async def take(self, ticket: str) -> dict[str, Any] | None:
        self.taken.append(ticket)
        return self.granted.pop(ticket, None)


@pytest.fixture
def tickets() -> Tickets:
    return Tickets()


async def identify(tickets: Tickets, token: str, source: Source = "ticket") -> Identity | None:
    request: Any = SimpleNamespace(app={TICKETS: tickets})
    return await TicketAuthenticator().authenticate(Credentials(source, token, request))


def test_tickets_differ_and_may_stand_in_a_url() -> None:
    made = {new_ticket() for _ in range(100)}
    assert len(made) == 100
    for ticket in made:
        assert ticket.startswith("jft_")
        assert len(ticket) == 4 + 43  # 256 bits
        assert ticket.replace("-", "").replace("_", "").isalnum()


def test_a_grant_says_whom_the_ticket_lets_in() -> None:
    assert grant(ALICE) == {
        "user": "alice",
        "scopes": ["read", "write"],
        "expires_at": 12.5,
        "token_id": "t1",
    }


@pytest.mark.parametrize("source", ["ticket", "message"])
async def test_a_ticket_is_good_once(tickets: Tickets, source: Source) -> None:
    ticket = new_ticket()
    tickets.granted[ticket] = {**grant(ALICE), "issued_at": 7.0}
    assert await identify(tickets, ticket, source) == Identity(
        "alice", ALICE.scopes, expires_at=12.5, token_id="t1", issued_at=7.0
    )
    with pytest.raises(Error, match="unauthenticated"):
        await identify(tickets, ticket, source)


@pytest.mark.parametrize("source", ["bearer", "cookie", "none"])
async def test_from_elsewhere_a_ticket_is_not_looked_at(tickets: Tickets, source: Source) -> None:
    ticket = new_ticket()
    tickets.granted[ticket] = grant(ALICE)
    assert await identify(tickets, ticket, source) is None
    assert tickets.taken == []


async def test_in_a_message_another_token_is_left_to_others(tickets: Tickets) -> None:
    assert await identify(tickets, "a.b.c", "message") is None


@pytest.mark.parametrize(
    "ticket",
    ["", "jft_", "a.b.c", "jft_" + "x" * 42, "jft_" + "x" * 44, "jft_" + "é" * 43, "jft_x\n"],
)
async def test_what_can_be_no_ticket_is_refused_without_asking_redis(
    tickets: Tickets, ticket: str
) -> None:
    with pytest.raises(Error, match="unauthenticated"):
        await identify(tickets, ticket)
    assert tickets.taken == []


async def test_a_ticket_that_nobody_wrote_is_refused(tickets: Tickets) -> None:
    with pytest.raises(Error, match="unauthenticated"):
        await identify(tickets, new_ticket())
    assert len(tickets.taken) == 1
