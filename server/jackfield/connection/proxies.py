"""The address of a client behind proxies: what they report counts if they are trusted."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

import structlog
from aiohttp import hdrs, web

_log = structlog.get_logger("jackfield")

#: Addresses of ``X-Forwarded-For`` that are read. Each proxy adds one, and few stand in a row; a
#: client may send thousands, which would only take time.
_MOST_HOPS: Final = 32


class TrustedProxies:
    """Finds the address of a client behind the proxies of a server.

    Args:
        networks: The addresses of the proxies.
    """

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._networks = networks
        self._has_warned = False

    def client_address(self, request: web.BaseRequest) -> str:
        """Return the address of the client that sent a request.

        It is the peer's. Where the peer is a trusted proxy, it is the rightmost address of
        ``X-Forwarded-For`` that is no trusted proxy: the client may have made up those before it.

        Returns:
            The address; empty if the connection has ended.
        """
        peer = request.remote or ""
        forwarded = request.headers.getall(hdrs.X_FORWARDED_FOR, ())
        if not forwarded:
            return peer
        nearest = _parse_address(peer)
        if nearest is None or not self._trusts(nearest):
            self._warn(peer)
            return peer
        hops = ",".join(forwarded).rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]
        for hop in reversed(hops):
            address = _parse_address(hop)
            if address is None:  # not written by a trusted proxy: the one that passed it on counts
                break
            nearest = address
            if not self._trusts(address):
                break
        return str(nearest)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)

    def _warn(self, peer: str) -> None:
        """Warn once: if a proxy is missing from the setting, all its clients share one address."""
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "X-Forwarded-For is ignored: it comes from an address that is not in "
                "server.trusted_proxies",
                remote=peer,
            )


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address as proxies write it: some add a port, and brackets around IPv6."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:  # it may be any text
            return None
        return address.ipv4_mapped or address
    return address
