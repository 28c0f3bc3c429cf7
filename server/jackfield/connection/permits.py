"""Connection limits: in all, for each address, for each user, and for unauthenticated clients."""

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
    """A connection limit is reached.

    Args:
        limit: Its key under ``[limits]``.
    """

    def __init__(self, limit: str) -> None:
        self.limit = limit
        super().__init__(f"limits.{limit} is reached")


class Permits:
    """The permits that the connections of one process take.

    Args:
        limits: How many there are.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self.limits = limits
        #: Permits that are taken, by connections that are open or about to be.
        self.taken = 0
        #: Permits of unauthenticated connections, the longest waiting first, and what closes each.
        self.waiting: OrderedDict[Permit, Callable[[], None]] = OrderedDict()
        #: Clients that are being turned away.
        self.turned_away = 0
        self.by_address: Counter[str] = Counter()
        self.by_user: Counter[str] = Counter()

    @property
    def unidentified(self) -> int:
        """How many connections are unauthenticated."""
        return len(self.waiting)

    def take(self, address: str) -> "Permit":
        """Take a permit for a new connection; leaving it as a context gives it back.

        Args:
            address: The client's address.

        Raises:
            FullError: A limit is reached.
        """
        if self.taken >= self.limits.connections:
            raise FullError("connections")
        address_key = _address_key(address)
        if address_key is not None:
            _count(self.by_address, address_key, self.limits, "connections_per_address")
        self.taken += 1
        return Permit(self, address_key)

    @contextmanager
    def turn_away(self) -> Iterator[None]:
        """Count a client while it is being turned away.

        Raises:
            FullError: There are as many as ``limits.unauthenticated`` allows.
        """
        if self.turned_away >= self.limits.unauthenticated:
            raise FullError("unauthenticated")
        self.turned_away += 1
        try:
            yield
        finally:
            self.turned_away -= 1


class Permit:
    """What one connection counts for in the limits, from its request until it has ended.

    Args:
        permits: Where it was taken.
        address_key: What its address is counted by; None if that isn't counted.
    """

    __slots__ = ("_address", "_permits", "_user")

    def __init__(self, permits: Permits, address_key: str | None) -> None:
        self._permits = permits
        self._address = address_key
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
        if self._address is not None:
            _uncount(permits.by_address, self._address)
        if self._user is not None:
            _uncount(permits.by_user, self._user)

    def await_identity(self, close: Callable[[], None]) -> None:
        """Count the connection as unauthenticated, until `identify`.

        When too many are, the one that has waited longest is closed: an honest client says at once
        who it is, and is never that one.

        Args:
            close: Closes the connection.
        """
        waiting = self._permits.waiting
        if len(waiting) >= self._permits.limits.unauthenticated:
            _, close_oldest = waiting.popitem(last=False)
            close_oldest()
        waiting[self] = close

    def identify(self, user: str | None) -> None:
        """Count the connection as its user's.

        Args:
            user: The user's id; None for an anonymous client, which is counted by address only.

        Raises:
            FullError: The user has too many; the connection is counted as before.
        """
        if user is not None:
            permits = self._permits
            _count(permits.by_user, user, permits.limits, "connections_per_user")
            self._user = user
        self._permits.waiting.pop(self, None)


@lru_cache(4096)
def _address_key(address: str) -> str | None:
    """Return what connections from an address are counted by; None for an address of this machine.

    No client elsewhere has one of those, but a proxy that isn't among the trusted ones may.
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


def _uncount(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
