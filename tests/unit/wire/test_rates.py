"""A bucket lets in what its rate and burst allow, and says truly how long to wait."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.wire.rates import Allowance, Rate, TokenBucket, cost_of, parse_rate, rounded_up

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


def test_several_tokens_are_taken_together_or_not_at_all() -> None:
    bucket = TokenBucket(1, 5)
    assert bucket.take(0.0, 3) == 0.0
    assert bucket.take(0.0, 3) == 1.0
    assert taken(bucket, 0.0) == 2


def test_who_takes_more_than_there_ever_is_finds_the_bucket_full_and_leaves_a_debt() -> None:
    bucket = TokenBucket(1, 5)
    assert bucket.take(0.0, 12) == 0.0
    assert bucket.take(0.0) == 8.0
    assert bucket.take(8.0) == 0.0
    assert bucket.take(8.0, 12) == 5.0  # not while anything is missing
    assert bucket.take(13.0, 12) == 0.0


@pytest.mark.parametrize(
    ("size", "cost"), [(0, 1), (1, 1), (4096, 1), (4097, 2), (65_536, 16), (65_537, 17)]
)
def test_a_message_costs_one_for_each_4_kib_begun(size: int, cost: int) -> None:
    assert cost_of(size) == cost


@pytest.mark.parametrize("amount", [1, 5, 16, 17, 40, 1000])
def test_an_allowance_lets_in_what_is_dear_for_what_it_costs(amount: int) -> None:
    allowance = Allowance(amount, amount)
    assert used(allowance, 0.0) == 0.0
    assert allowance.take_more(0.0, 15) == 0.0
    others = sum(used(allowance, 0.0) == 0.0 for _ in range(3 * amount))
    assert others == max(0, amount - 16)
    debt = max(0, 16 - amount)
    assert used(allowance, 0.0) == pytest.approx((debt + 1) / amount)


def test_what_is_too_dear_for_now_costs_nothing() -> None:
    allowance = Allowance(20, 20)
    assert [used(allowance, 0.0), allowance.take_more(0.0, 15)] == [0.0, 0.0]
    for _ in range(3):
        assert used(allowance, 0.0) == 0.0
        wait = allowance.take_more(0.0, 15)
        assert wait == pytest.approx(12 / 20)
    assert [used(allowance, wait), allowance.take_more(wait, 15)] == [0.0, 0.0]


def used(allowance: Allowance, now: float) -> float:
    """Take one, as those do who take many."""
    allowance.left -= 1
    return 0.0 if allowance.left >= 0 else allowance.refill(now)


@pytest.mark.parametrize("amount", [1, 2, 7, 8, 20, 1000])
def test_an_allowance_lets_in_its_burst_and_not_one_more(amount: int) -> None:
    allowance = Allowance(amount, amount)
    assert sum(used(allowance, 5.0) == 0.0 for _ in range(3 * amount)) == amount


def test_an_allowance_that_is_spent_comes_back_one_by_one() -> None:
    allowance = Allowance(2, 2)
    assert [used(allowance, 0.0) for _ in range(4)] == [0.0, 0.0, 0.5, 0.5]
    assert [used(allowance, 0.5), used(allowance, 0.5)] == [0.0, 0.5]


def test_every_use_of_an_allowance_leaves_a_trace() -> None:
    allowance = Allowance(10, 16)
    seen = {(allowance.left, allowance.filled_at)}
    for number in range(16):
        assert used(allowance, 0.0) == 0.0
        seen.add((allowance.left, allowance.filled_at))
        assert len(seen) == number + 2


@given(st.integers(1, 1000), st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_an_allowance_lets_in_an_eighth_more_at_the_most(amount: int, pauses: list[float]) -> None:
    allowance = Allowance(amount, amount)
    now, admitted = 0.0, 0
    for pause in pauses:
        now += pause
        admitted += sum(used(allowance, now) == 0.0 for _ in range(2))
    assert admitted <= amount + amount // 8 + amount * (now - pauses[0]) + 0.02


@given(st.integers(1, 1000), times)
def test_to_wait_for_an_allowance_as_long_as_was_said_is_enough(amount: int, now: float) -> None:
    allowance = Allowance(amount, amount)
    while (wait := used(allowance, now)) == 0.0:
        pass
    assert used(allowance, now + wait) == 0.0


@pytest.mark.parametrize(
    ("text", "rate"),
    [("20/s", Rate(20, 1)), ("100/m", Rate(100, 60)), ("1/h", Rate(1, 3600))],
)
def test_a_rate_is_so_many_in_a_period(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text",
    ["", "20", "20/d", "0/s", "-1/s", "1.5/s", " 1/s", "1/s\n", "\u0661/s", 20, None, b"1/s"],
)
def test_what_is_no_rate_is_refused_in_words(text: Any) -> None:
    with pytest.raises(ValueError, match='is not a rate: write "20/s"'):
        parse_rate(text)


def test_a_rate_lets_in_its_whole_amount_at_once() -> None:
    allowance = parse_rate("5/m").allowance()
    assert [used(allowance, 0.0) for _ in range(5)] == [0.0] * 5
    assert used(allowance, 0.0) == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("wait", "told"), [(0.0101, 0.011), (0.01, 0.01), (2.0, 2.0), (1e-9, 0.001), (59.9999, 60.0)]
)
def test_a_wait_is_rounded_up_to_milliseconds(wait: float, told: float) -> None:
    assert rounded_up(wait) == told
