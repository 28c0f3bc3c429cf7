"""A share is a user's, or an address's; a client of this machine has one of its own."""

import pytest

from jackfield.connection.payer import share_name
from jackfield.wire.identity import Identity
from tests.support.connected import Connected


@pytest.mark.parametrize(
    ("user", "remote", "name"),
    [
        ("alice", "192.0.2.1", "u:alice"),
        (None, "192.0.2.1", "ip:192.0.2.1"),
        (None, "127.0.0.1", None),
    ],
)
async def test_a_share_has_the_name_of_whose_it_is(
    monkeypatch: pytest.MonkeyPatch, user: str | None, remote: str, name: str | None
) -> None:
    connected = Connected()
    connected.connection.identity = Identity(user)
    monkeypatch.setattr(connected.connection, "remote", remote)
    assert share_name(connected.connection) == name
    connected.close()
