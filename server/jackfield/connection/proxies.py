"""Whose a connection is that came through proxies: what they say counts, if they are trusted."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

import structlog
from aiohttp import hdrs, web

_log = structlog.get_logger("jackfield")

#: Each proxy adds one; far more than there are proxies in a row would only take time to read.
_MOST_HOPS: Final = 32


class TrustedProxies:
    """Tells the address of a client behind the proxies of a server.

    Args:
        networks: The addresses of those proxies.
    """

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._networks = networks
        self._has_warned = False

    def client(self, request: web.BaseRequest) -> str:
        """The address that a request comes from.

        That is the peer's. Where the peer is a trusted proxy, it is the rightmost one of
        ``X-Forwarded-For`` that is none: what stands before it the client may have made up.

        Returns:
            The address; empty if the connection has ended.
        """
        peer = request.remote or ""
        forwarded = request.headers.getall(hdrs.X_FORWARDED_FOR, ())
        if not forwarded:
            return peer
        nearest = _address(peer)
        if nearest is None or not self._trusts(nearest):
            self._warn(peer)
            return peer
        hops = ",".join(forwarded).rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]
        for hop in reversed(hops):
            address = _address(hop)
            if address is None:  # nobody we trust wrote that; whoever passed it on is known
                break
            nearest = address
            if not self._trusts(address):
                break
        return str(nearest)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)

    def _warn(self, peer: str) -> None:
        """A proxy that isn't trusted by mistake makes all its clients look like one."""
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "X-Forwarded-For is ignored: it comes from an address that is not in "
                "server.trusted_proxies",
                remote=peer,
            )


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it: some add a port, and brackets around one of IPv6."""
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
        if address.scope_id is not None:  # any text at all
            return None
        return address.ipv4_mapped or address
    return address
