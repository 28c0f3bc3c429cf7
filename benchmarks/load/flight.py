"""What is in flight: how long each took, and how far the members of a room are."""

from collections import Counter, deque
from typing import Final

_MICROSECONDS: Final = 1e6


class Flight:
    """When what is in flight was sent; it comes back in the order in which it was sent.

    Args:
        latencies: Counts, by microseconds, how long it took.
    """

    def __init__(self, latencies: Counter[int]) -> None:
        self._latencies = latencies
        #: When it was sent, and how many at that time.
        self._sent: deque[tuple[float, int]] = deque()

    def sent(self, count: int, now: float) -> None:
        """So many more are in flight.

        Args:
            count: How many.
            now: In seconds, of a clock that only `returned` reads as well.
        """
        self._sent.append((now, count))

    def returned(self, count: int, now: float) -> None:
        """The first ones are back."""
        while count:
            sent_at, waiting = self._sent.popleft()
            back = min(count, waiting)
            self._latencies[int((now - sent_at) * _MICROSECONDS)] += back
            if back < waiting:
                self._sent.appendleft((sent_at, waiting - back))
            count -= back


class Progress:
    """How many publications all members of a room have got.

    Args:
        members: How many there are.
        depth: The most publications that some have got and others have not.
    """

    def __init__(self, members: int, depth: int) -> None:
        #: How many all members have got.
        self.done = 0
        # How many members have got a number of publications, by that number: a ring, as the numbers
        # are never further apart than the depth.
        self._at = [0] * (depth + 1)
        self._at[0] = members

    def advance(self, before: int, after: int) -> int:
        """A member had got so many, and now has got more.

        Returns:
            How many more all members have got by that.
        """
        at, size, done = self._at, len(self._at), self.done
        at[before % size] -= 1
        at[after % size] += 1
        while not at[self.done % size]:
            self.done += 1
        return self.done - done
