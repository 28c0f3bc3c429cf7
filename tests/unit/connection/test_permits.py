"""A place is counted for as long as it is taken, and by everything that it takes."""

from typing import Any

import pytest

from jackfield.config import load_settings
from jackfield.connection.permits import FullError, Permits


def permits(**limits: int) -> Permits:
    return Permits(load_settings(None, {}, {"limits": limits}).limits)


def ignore() -> None:
    pass


def test_places_are_given_back_and_taken_again() -> None:
    full = permits(connections=1)
    for _ in range(3):
        with full.take("192.0.2.1"), pytest.raises(FullError, match=r"limits\.connections is"):
            full.take("192.0.2.2")
    assert (full.taken, dict(full.by_address)) == (0, {})


def test_each_address_has_its_own() -> None:
    limited = permits(connections_per_address=2)
    with limited.take("192.0.2.1"), limited.take("192.0.2.1"):
        with pytest.raises(FullError) as refused:
            limited.take("192.0.2.1")
        assert refused.value.limit == "connections_per_address"
        with limited.take("192.0.2.2"), limited.take("2001:db8::1"):
            assert limited.taken == 4
    assert (limited.taken, dict(limited.by_address)) == (0, {})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
    ],
)
def test_whoever_has_one_address_gains_nothing_by_the_next(one: str, other: str) -> None:
    limited = permits(connections_per_address=1)
    with limited.take(one), pytest.raises(FullError):
        limited.take(other)


def test_the_next_network_is_somebody_elses() -> None:
    limited = permits(connections_per_address=1)
    with limited.take("2001:db8:1:2::1"), limited.take("2001:db8:1:3::1"):
        assert limited.taken == 2


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", ""])
def test_this_machine_is_not_counted_by_address(address: str) -> None:
    limited = permits(connections_per_address=1)
    with limited.take(address), limited.take(address):
        assert dict(limited.by_address) == {}


def test_each_user_has_its_own() -> None:
    limited = permits(connections_per_user=1)
    with limited.take("") as first, limited.take("") as second, limited.take("") as third:
        first.identify("alice")
        with pytest.raises(FullError) as refused:
            second.identify("alice")
        assert refused.value.limit == "connections_per_user"
        third.identify("bob")
    assert dict(limited.by_user) == {}


def test_nobody_is_not_counted_as_a_user() -> None:
    limited = permits(connections_per_user=1)
    with limited.take("") as first, limited.take("") as second:
        first.identify(None)
        second.identify(None)
        assert dict(limited.by_user) == {}


def test_who_waits_longest_to_be_known_makes_room() -> None:
    limited = permits(unauthenticated=2)
    closed: list[Any] = []
    with limited.take("") as first, limited.take("") as second, limited.take("") as third:
        first.await_identity(lambda: closed.append(first))
        second.await_identity(lambda: closed.append(second))
        third.await_identity(lambda: closed.append(third))
        assert (closed, limited.unidentified) == ([first], 2)
        second.identify("alice")
        assert limited.unidentified == 1
    assert limited.unidentified == 0


def test_those_who_are_turned_away_are_not_too_many_either() -> None:
    limited = permits(unauthenticated=1)
    with limited.turn_away(), pytest.raises(FullError), limited.turn_away():
        pass
    with limited.turn_away():
        assert limited.turned_away == 1
    assert limited.turned_away == 0
