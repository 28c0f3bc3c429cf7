"""`TokenBucket`: so many a second, and so many at once."""

import math
from typing import Final

#: Seconds that one may come early: adding what is left to wait to a time rounds.
_SLACK: Final = 1e-6


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

    def take(self, now: float) -> float:
        """Take a token, if there is one.

        Args:
            now: The time on a monotonic clock, in seconds.

        Returns:
            0.0 if it was taken; else nothing was, and it is the seconds until it could be.
        """
        full_at = max(self._full_at, now) + self._interval
        wait = full_at - now - self._refill
        if wait > _SLACK:
            return wait
        self._full_at = full_at
        return 0.0
