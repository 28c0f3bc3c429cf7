"""Rate limits: a `Rate` as authors write it, and two token buckets that keep to one."""

import math
import re
from typing import Final, NamedTuple

#: Seconds that one may come early: adding what is left to wait to a time rounds.
_SLACK: Final = 1e-6
#: Bytes of a message that count as one: longer ones are as dear as several short ones.
BYTES_A_TOKEN: Final = 4096


_RATE: Final = re.compile(r"([1-9]\d{0,8})/(s|m|h)", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


class Rate(NamedTuple):
    """So many in a period, which may all come at once.

    Attributes:
        amount: How many.
        period: Seconds.
    """

    amount: int
    period: int

    def allowance(self) -> "Allowance":
        """Return a bucket that keeps to the rate."""
        return Allowance(self.amount / self.period, self.amount)


def parse_rate(text: object) -> Rate:
    """Read a rate: ``"20/s"``, ``"100/m"``, ``"1000/h"``.

    Raises:
        ValueError: It is none.
    """
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f'{text!r} is not a rate: write "20/s", "100/m" or "1000/h"')
    return Rate(int(match[1]), _SECONDS[match[2]])


def cost_of(size: int) -> int:
    """Return how many messages one of this size counts as: one for each 4 KiB begun.

    Args:
        size: Bytes.
    """
    return max(1, -(-size // BYTES_A_TOKEN))


class TokenBucket:
    """A bucket that is full at first, refills steadily, and gives one token to each who is let in.

    It counts nothing: it only knows when it will be full again, and each token taken puts that off.

    Args:
        rate: Tokens a second that come back.
        burst: Tokens of the full bucket, at least 1: how many may be taken at once.

    Raises:
        ValueError: Nothing could ever be taken.
    """

    __slots__ = ("_full_at", "_interval", "_refill")

    def __init__(self, rate: float, burst: float) -> None:
        if not (rate > 0 and burst >= 1):
            raise ValueError(f"no token would come of a rate of {rate} and a burst of {burst}")
        self._interval = 1 / rate
        #: Seconds from empty to full.
        self._refill = burst / rate
        self._full_at = -math.inf

    def take(self, now: float, tokens: int = 1) -> float:
        """Take a token, or several, if they are there.

        Who takes more than the bucket holds must find it full, and leaves it with a debt.

        Args:
            now: The time on a monotonic clock, in seconds.
            tokens: How many.

        Returns:
            0.0 if they were taken; else nothing was, and it is the seconds until they could be.
        """
        taken = self._interval * tokens
        full_at = max(self._full_at, now) + taken
        wait = full_at - now - max(self._refill, taken)
        if wait > _SLACK:
            return wait
        self._full_at = full_at
        return 0.0

    def put_back(self, tokens: int) -> None:
        """Put back tokens that were taken and not needed."""
        self._full_at -= self._interval * tokens


class Allowance(TokenBucket):
    """A bucket for what is taken all the time: it gives by the handful, and so seldom asks when.

    Whoever takes something takes one off `left`, and calls `refill` if that was one too many. At
    most an eighth more than ``burst`` may be taken at once: what is left of a handful.

    Args:
        rate: As for `TokenBucket`.
        burst: As for `TokenBucket`.
    """

    __slots__ = ("_handful", "left")

    def __init__(self, rate: float, burst: int) -> None:
        super().__init__(rate, burst)
        self._handful = max(1, burst // 8)
        #: What can be taken without asking when.
        self.left = 0

    @property
    def filled_at(self) -> float:
        """A time that changes with every `refill` that gives something."""
        return self._full_at

    def refill(self, now: float) -> float:
        """Take a handful or, if that is too much, the one that was missing.

        Args:
            now: The time on a monotonic clock, in seconds.

        Returns:
            0.0 if there was enough; else the seconds until the one could be taken, which is not.
        """
        if self.take(now, self._handful) == 0.0:
            self.left = self._handful - 1
            return 0.0
        self.left = 0
        return self.take(now)

    def take_more(self, now: float, tokens: int) -> float:
        """Take what something costs beyond the one that was taken off `left` for it.

        Args:
            now: The time on a monotonic clock, in seconds.
            tokens: How many more.

        Returns:
            0.0 if they were taken; else none was, also not the one before, and it is the seconds
            until they could be.
        """
        if tokens <= self.left:
            self.left -= tokens
            return 0.0
        # The rest of the handful goes back: a bucket that must be full can't lack it.
        self._full_at -= self._interval * (self.left + 1)
        self.left = 0
        return self.take(now, tokens + 1)


def rounded_up(wait: float) -> float:
    """Round a wait up to milliseconds: a client that comes back too early is refused again.

    Args:
        wait: Seconds.
    """
    return math.ceil(wait * 1000) / 1000
