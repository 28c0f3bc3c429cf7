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
        displace: Whether a connection past its user's limit takes the place of that user's oldest.
    """

    def __init__(self, limits: LimitSettings, *, displace: bool = False) -> None:
        self.limits = limits
        self.displace = displace
        #: Permits that are taken, by connections that are open or about to be.
        self.taken = 0
        #: Permits of unauthenticated connections, the longest waiting first, and what closes each.
        self.waiting: OrderedDict[Permit, Callable[[], None]] = OrderedDict()
        #: Clients that are being turned away.
        self.turned_away = 0
        self.by_address: Counter[str] = Counter()
        self.by_user: Counter[str] = Counter()
        #: Those of each user, the oldest first; only where one may be displaced.
        self.held: dict[str, list[Permit]] = {}

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
        key = address_key(address)
        if key is not None:
            _count(self.by_address, key, self.limits, "connections_per_address")
        self.taken += 1
        return Permit(self, key)

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

    __slots__ = ("_address", "_displace", "_is_displaced", "_permits", "_user")

    def __init__(self, permits: Permits, address_key: str | None) -> None:
        self._permits = permits
        self._address = address_key
        self._user: str | None = None
        self._displace: Callable[[], None] | None = None
        self._is_displaced = False

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
        self._leave_user()

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
            if permits.displace:
                held = permits.held.get(user, [])
                if len(held) >= permits.limits.connections_per_user:
                    held[0]._make_room()  # noqa: SLF001 - of this class
                permits.held.setdefault(user, []).append(self)
            _count(permits.by_user, user, permits.limits, "connections_per_user")
            self._user = user
        self._permits.waiting.pop(self, None)

    def on_displaced(self, displace: Callable[[], None]) -> None:
        """Have something called once a newer connection of the user takes this one's place.

        Args:
            displace: Closes the connection; called at once if that has happened already.
        """
        self._displace = displace
        if self._is_displaced:
            displace()

    def _make_room(self) -> None:
        self._leave_user()
        self._is_displaced = True
        if self._displace is not None:
            self._displace()

    def _leave_user(self) -> None:
        user, self._user = self._user, None
        if user is None:
            return
        permits = self._permits
        _uncount(permits.by_user, user)
        if permits.displace:
            permits.held[user].remove(self)
            if not permits.held[user]:
                del permits.held[user]


@lru_cache(4096)
def address_key(address: str) -> str | None:
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
