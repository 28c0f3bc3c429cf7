"""How many connections there may be: in all, from one address, of one user, of nobody yet."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from types import TracebackType
from typing import Final, Self

from jackfield.config import LimitSettings

#: Whoever has one address of IPv6 has all that share its first 64 bits (RFC 6177).
_IPV6_HOST_BITS: Final = 64


class FullError(Exception):
    """There are as many connections as may be.

    Args:
        limit: Which of the limits is reached, by its key in the configuration.
    """

    def __init__(self, limit: str) -> None:
        self.limit = limit
        super().__init__(f"limits.{limit} is reached")


class Permits:
    """What permits the connections of one process.

    Args:
        limits: How many there may be.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self.limits = limits
        #: Permits that are taken, by connections that are open or about to be.
        self.taken = 0
        #: Those of them that have not said whose they are, the longest waiting first, and what
        #: closes each.
        self.waiting: OrderedDict[Permit, Callable[[], None]] = OrderedDict()
        #: Clients that are turned away, and have yet to go.
        self.leaving = 0
        self.by_address: Counter[str] = Counter()
        self.by_user: Counter[str] = Counter()

    @property
    def unidentified(self) -> int:
        """How many have not said whose they are."""
        return len(self.waiting)

    def take(self, address: str) -> "Permit":
        """Take a permit for a new connection; it is a context manager, that gives it back.

        Args:
            address: The client's address.

        Raises:
            FullError: There is none.
        """
        if self.taken >= self.limits.connections:
            raise FullError("connections")
        origin = _origin(address)
        if origin is not None:
            _count(self.by_address, origin, self.limits, "connections_per_address")
        self.taken += 1
        return Permit(self, origin)

    @contextmanager
    def take_leave(self) -> Iterator[None]:
        """Count a client that is turned away, until it has gone.

        Raises:
            FullError: Too many are.
        """
        if self.leaving >= self.limits.unauthenticated:
            raise FullError("unauthenticated")
        self.leaving += 1
        try:
            yield
        finally:
            self.leaving -= 1


class Permit:
    """What one connection takes of the limits, from before it is let in until it has ended.

    Args:
        permits: Where it was taken.
        origin: What its address is counted as; None if that isn't counted.
    """

    __slots__ = ("_origin", "_permits", "_user")

    def __init__(self, permits: Permits, origin: str | None) -> None:
        self._permits = permits
        self._origin = origin
        self._user: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        permits = self._permits
        permits.taken -= 1
        permits.waiting.pop(self, None)
        if self._origin is not None:
            _discount(permits.by_address, self._origin)
        if self._user is not None:
            _discount(permits.by_user, self._user)

    def await_identity(self, close: Callable[[], None]) -> None:
        """It is open before it has said whose it is; it is counted as such until `identify`.

        When too many are, the one that has waited longest is closed: an honest client says at once
        whose it is, and is never among those.

        Args:
            close: Closes it.
        """
        waiting = self._permits.waiting
        if len(waiting) >= self._permits.limits.unauthenticated:
            _, close_oldest = waiting.popitem(last=False)
            close_oldest()
        waiting[self] = close

    def identify(self, user: str | None) -> None:
        """It is known whose it is.

        Args:
            user: The user's id; None for somebody anonymous, who is counted by address only.

        Raises:
            FullError: The user has too many; it counts as before.
        """
        if user is not None:
            permits = self._permits
            _count(permits.by_user, user, permits.limits, "connections_per_user")
            self._user = user
        self._permits.waiting.pop(self, None)


@lru_cache(4096)
def _origin(address: str) -> str | None:
    """What the connections from an address are counted by; None for one of this machine.

    A stranger has none of those, but a proxy that isn't named among the trusted ones may.
    """
    try:
        parsed = ip_address(address)
    except ValueError:  # a unix socket has none
        return None
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            network = int(parsed) >> _IPV6_HOST_BITS
            return None if parsed.is_loopback else f"{network:x}::"
        parsed = parsed.ipv4_mapped
    return None if parsed.is_loopback else str(parsed)


def _count(counter: Counter[str], key: str, limits: LimitSettings, limit: str) -> None:
    if counter[key] >= getattr(limits, limit):
        raise FullError(limit)
    counter[key] += 1


def _discount(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
