"""How long to wait before the next attempt, so that those who lost one server spread out."""

import math
import random
from time import monotonic


class Backoff:
    """Waits drawn at random, up to a bound that doubles with each failure.

    Args:
        first: Seconds, the bound of the first wait.
        longest: Seconds that the bound never exceeds. After what has held for as long, the bound
            is the first again.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._bound = first
        self._held_since = math.inf

    def hold(self) -> None:
        """Note that what was attempted holds from now on."""
        self._held_since = monotonic()

    def draw(self, after: float = 0) -> float:
        """Seconds to wait after a failure.

        Args:
            after: Seconds that the server wants to be left alone; the wait is on top of them.
        """
        if monotonic() - self._held_since >= self._longest:
            self._bound = self._first
        self._held_since = math.inf
        wait = after + random.uniform(0, self._bound)  # noqa: S311 - to spread, not to keep secret
        self._bound = min(2 * self._bound, self._longest)
        return wait
