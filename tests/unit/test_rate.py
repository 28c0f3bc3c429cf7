"""A bucket lets in what its rate and burst allow, and says truly how long to wait."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.rate import TokenBucket

rates = st.floats(0.01, 10_000)
bursts = st.floats(1, 1_000)
#: A monotonic clock may have started at any time, up to years ago.
times = st.floats(0, 1e8)


def taken(bucket: TokenBucket, now: float, attempts: int = 100) -> int:
    return sum(bucket.take(now) == 0.0 for _ in range(attempts))


@pytest.mark.parametrize("now", [-5.0, 0.0, 1e8])
def test_a_new_bucket_is_full_whatever_the_time(now: float) -> None:
    assert taken(TokenBucket(1, 5), now) == 5


def test_a_token_comes_back_when_it_was_said_to() -> None:
    bucket = TokenBucket(2, 1)
    assert bucket.take(10.0) == 0.0
    assert bucket.take(10.0) == 0.5
    assert bucket.take(10.25) == 0.25
    assert bucket.take(10.5) == 0.0
    assert bucket.take(10.5) == 0.5


def test_being_refused_costs_nothing() -> None:
    bucket = TokenBucket(1, 1)
    assert bucket.take(0.0) == 0.0
    assert taken(bucket, 0.5) == 0
    assert bucket.take(1.0) == 0.0


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    bucket = TokenBucket(10, 3)
    assert taken(bucket, 0.0) == 3
    assert taken(bucket, 0.2) == 2
    assert taken(bucket, 1_000.0) == 3


def test_part_of_a_token_is_kept() -> None:
    bucket = TokenBucket(1, 1.5)
    assert [bucket.take(0.0), bucket.take(0.0)] == [0.0, 0.5]
    assert [bucket.take(0.5), bucket.take(1.5)] == [0.0, 0.0]


def test_without_a_limit_everyone_is_let_in() -> None:
    assert taken(TokenBucket(math.inf, 1), 0.0) == 100
    assert taken(TokenBucket(1, math.inf), 0.0) == 100


@given(rates, bursts, times, st.integers(1, 50))
def test_to_wait_as_long_as_was_said_is_enough(
    rate: float, burst: float, now: float, times_refused: int
) -> None:
    bucket = TokenBucket(rate, burst)
    for _ in range(times_refused):
        while (wait := bucket.take(now)) == 0.0:
            pass
        now += wait
        assert bucket.take(now) == 0.0


@given(rates, bursts, st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_no_more_are_let_in_than_the_burst_and_what_came_back(
    rate: float, burst: float, pauses: list[float]
) -> None:
    bucket = TokenBucket(rate, burst)
    now, admitted = 0.0, 0
    for pause in pauses:
        now += pause
        admitted += taken(bucket, now, attempts=2)
    rounding = 0.02  # 2 microseconds at the highest rate
    assert admitted <= burst + rate * (now - pauses[0]) + rounding


@pytest.mark.parametrize(
    ("rate", "burst"), [(0, 1), (-1, 1), (math.nan, 1), (1, 0), (1, 0.5), (1, math.nan)]
)
def test_a_bucket_that_lets_nobody_in_is_refused(rate: Any, burst: Any) -> None:
    with pytest.raises(ValueError, match="no token would come of a rate of "):
        TokenBucket(rate, burst)
