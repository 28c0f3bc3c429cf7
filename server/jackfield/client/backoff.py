"""How long to wait before the next attempt, so that the clients of a lost server spread out."""

import math
import random
from time import monotonic


class Backoff:
    """Random delays between attempts, up to a bound that doubles with each failure.

    Args:
        first: The bound of the first delay, in seconds.
        longest: What the bound never exceeds, in seconds. After an attempt that has succeeded for
            this long, the bound is the first again.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._bound = first
        self._succeeded_at = math.inf

    def succeeded(self) -> None:
        """Note that the current attempt has succeeded; the next failure ends that time."""
        self._succeeded_at = monotonic()

    def next_delay(self, after: float = 0) -> float:
        """Return how many seconds to wait after a failure.

        Args:
            after: The least delay the server asks for, in seconds; the random one comes on top.
        """
        if monotonic() - self._succeeded_at >= self._longest:
            self._bound = self._first
        self._succeeded_at = math.inf
        delay = after + random.uniform(0, self._bound)  # noqa: S311 - to spread, not to keep secret
        self._bound = min(2 * self._bound, self._longest)
        return delay
