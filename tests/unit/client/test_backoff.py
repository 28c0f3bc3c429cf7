"""Delays are random, their bound doubles with each failure, and lasting success resets it."""

import pytest

from jackfield.client.backoff import Backoff


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """What each delay was drawn from; the highest is drawn."""
    bounds: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    monkeypatch.setattr("jackfield.client.backoff.random.uniform", draw)
    return bounds


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("jackfield.client.backoff.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_the_bound_doubles_up_to_the_longest(bounds: list[tuple[float, float]]) -> None:
    backoff = Backoff(1, 6)
    assert [backoff.next_delay() for _ in range(5)] == [1, 2, 4, 6, 6]
    assert {low for low, _ in bounds} == {0}


def test_a_delay_is_never_below_what_the_server_asks_for(bounds: list[tuple[float, float]]) -> None:
    backoff = Backoff(1, 4)
    assert [backoff.next_delay(10), backoff.next_delay(0.5)] == [11, 2.5]


def test_delays_differ_so_that_clients_spread_out() -> None:
    delays = {Backoff(1, 8).next_delay() for _ in range(20)}
    assert len(delays) > 1
    assert all(0 <= delay <= 1 for delay in delays)


@pytest.mark.parametrize(("lasted", "delay"), [(4.9, 4), (5.0, 1)])
@pytest.mark.usefixtures("bounds")
def test_success_that_lasted_resets_the_bound(clock: Clock, lasted: float, delay: float) -> None:
    backoff = Backoff(1, 5)
    backoff.next_delay()
    backoff.next_delay()
    backoff.succeeded()
    clock.now += lasted
    assert backoff.next_delay() == delay


@pytest.mark.usefixtures("bounds")
def test_a_success_counts_for_one_failure_only(clock: Clock) -> None:
    backoff = Backoff(1, 5)
    backoff.succeeded()
    clock.now += 5
    assert backoff.next_delay() == 1
    clock.now += 5
    assert backoff.next_delay() == 2
