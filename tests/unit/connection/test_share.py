"""Shares: what is charged drains over its lifetime, and what is replaced is charged once."""

import math

import pytest

from jackfield.connection.share import Share, TopicCharge, lifetime_class

KIB = 1024


def share(limit: int = 100 * KIB) -> Share:
    return Share(limit, 10, "u:alice")


@pytest.mark.parametrize(
    ("seconds", "rounded"), [(0.1, 1), (1, 1), (1.5, 2), (45, 64), (64, 64), (86_400, 131_072)]
)
def test_a_lifetime_is_rounded_up_to_a_power_of_two(seconds: float, rounded: int) -> None:
    assert lifetime_class(seconds) == rounded


def test_as_much_is_kept_at_once_as_the_limit_says_whatever_the_lifetime() -> None:
    for lifetime in (1, 64, 86_400):
        mine = share()
        for number in range(100):
            assert mine.wait(0, KIB) == 0.0, number
            mine.charge(0, KIB, lifetime)
        assert mine.wait(0, KIB) > 0


def test_what_was_charged_is_given_back_over_its_lifetime() -> None:
    mine = share()
    mine.charge(0, 100 * KIB, 64)
    assert mine.kept(0) == 100 * KIB
    assert mine.kept(32) == pytest.approx(50 * KIB)
    assert mine.kept(64) == 0


def test_who_goes_on_keeps_no_more_than_the_limit() -> None:
    mine, kept, now = share(), [], 0.0
    while now < 1000:
        wait = mine.wait(now, KIB)
        now += wait
        mine.charge(now, KIB, 64)
        kept.append(now)
    # Bytes whose lifetime has not ended: a full share at once, and what has drained meanwhile.
    most = max(sum(1 for each in kept if at - 64 < each <= at) for at in kept)
    assert most * KIB <= 2 * mine.limit + KIB
    last = sum(1 for each in kept if now - 64 < each)
    assert last * KIB == pytest.approx(mine.limit, rel=0.05)


def test_the_wait_is_until_there_is_room_and_not_longer() -> None:
    mine = share()
    mine.charge(0, 50 * KIB, 64)
    mine.charge(0, 50 * KIB, 1024)
    wait = mine.wait(0, 40 * KIB)
    assert mine.wait(wait - 1, 40 * KIB) > 0
    assert mine.wait(wait + 1e-6, 40 * KIB) == 0.0


def test_what_is_held_does_not_drain() -> None:
    mine = share()
    mine.held = 60 * KIB
    mine.held_elsewhere = 30 * KIB
    assert mine.kept(10_000) == 90 * KIB
    assert 0 < mine.wait(0, 20 * KIB) < math.inf
    assert mine.wait(0, 10 * KIB) == 0.0


def test_an_event_that_replaces_one_costs_nothing_more() -> None:
    charge = TopicCharge()
    total = 0.0
    for number in range(1000):
        now = number / 100
        total += charge.cost(now, KIB, 10, 3600)
        charge.add(now, KIB, 10, 3600)
    assert total == 10 * KIB


def test_larger_events_in_the_place_of_small_ones_are_charged() -> None:
    charge = TopicCharge()
    total = 0.0
    for number in range(200):
        size = 10 if number < 10 else 10 * KIB
        total += charge.cost(number / 100, size, 10, 3600)
        charge.add(number / 100, size, 10, 3600)
    assert total == pytest.approx(100 * KIB, rel=0.01)


def test_who_prolongs_a_history_pays_for_all_of_it_again() -> None:
    charge = TopicCharge()
    for number in range(10):
        charge.add(number, KIB, 10, 3600)
    assert charge.cost(3000, 1, 10, 3600) == 0  # in the place of one that is larger
    charge.add(3000, 1, 10, 3600)
    assert charge.cost(3601, 1, 10, 3600) == 10 * KIB


def test_an_expired_history_is_not_paid_for() -> None:
    charge = TopicCharge()
    charge.add(0, KIB, 10, 3600)
    assert charge.cost(3600, 1, 10, 3600) == 1


def test_it_remembers_a_bounded_number_of_topics() -> None:
    mine = share()
    for number in range(3000):
        mine.remember(f"room:{number}", TopicCharge())
    assert len(mine.topics) == 1024
    assert "room:2999" in mine.topics


def test_what_other_nodes_have_charged_counts_and_what_was_charged_meanwhile_too() -> None:
    mine = share()
    mine.charge(0, 10 * KIB, 64)
    assert mine.take_unreported() == {64: 10 * KIB}
    mine.charge(0, KIB, 64)
    mine.learn(0, {64: 30 * KIB, 1024: 5 * KIB}, 2 * KIB)
    assert mine.kept(0) == 38 * KIB
    mine.put_back({64: 3})
    assert mine.take_unreported() == {64: KIB + 3, 1024: 0}


def test_a_share_is_forgotten_once_nothing_is_left_of_it() -> None:
    mine = share()
    mine.charge(0, KIB, 64)
    assert not mine.forget_drained(0)
    mine.take_unreported()
    assert not mine.forget_drained(0.1)
    assert mine.forget_drained(64)
    mine.connections = 1
    assert not mine.forget_drained(64)
