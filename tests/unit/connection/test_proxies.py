"""The address of a client is what trusted proxies say, and never what anybody else does."""

from collections.abc import Sequence
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from structlog.testing import capture_logs

from jackfield.connection.proxies import TrustedProxies

TRUSTED = ("10.0.0.0/8", "2001:db8:ff::/48", "192.0.2.7")


def client(peer: str | None, *headers: str, trusted: Sequence[str] = TRUSTED) -> str:
    fields = CIMultiDict([("X-Forwarded-For", header) for header in headers])
    request: Any = SimpleNamespace(remote=peer, headers=fields)
    networks = [ip_network(network) for network in trusted]
    return TrustedProxies(networks).client_address(cast("web.BaseRequest", request))


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        ("203.0.113.1", [], "203.0.113.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1, 10.0.0.2"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1", "10.0.0.2, 10.0.0.3"], "203.0.113.1"),
        ("10.0.0.1", ["10.0.0.9,10.0.0.2"], "10.0.0.9"),
        ("::ffff:10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("2001:db8:ff::1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["203.0.113.1:4711"], "203.0.113.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("192.0.2.7", [" 203.0.113.1\t"], "203.0.113.1"),
        (None, ["203.0.113.1"], ""),
    ],
)
def test_the_rightmost_that_is_no_proxy_is_the_client(
    peer: str | None, headers: list[str], address: str
) -> None:
    assert client(peer, *headers) == address


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        # Who is no proxy may say what they like.
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),
        ("203.0.113.1", ["10.0.0.1"], "203.0.113.1"),
        # What the client has sent stands left of what the proxy has added.
        ("10.0.0.1", ["198.51.100.1, 203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.5, 203.0.113.1, 10.0.0.2"], "203.0.113.1"),
        # Nonsense ends what is believed.
        ("10.0.0.1", ["198.51.100.1, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1, "], "10.0.0.1"),
        ("10.0.0.1", ["fe80::1%\x1b[31m"], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
    ],
)
def test_nobody_can_forge_an_address(peer: str, headers: list[str], address: str) -> None:
    assert client(peer, *headers) == address


@given(st.lists(st.text(max_size=60), max_size=5))
def test_whatever_a_client_sends_it_stays_who_it_is(forged: list[str]) -> None:
    assert client("203.0.113.1", *forged) == "203.0.113.1"
    assert client("10.0.0.1", *forged, "203.0.113.1") == "203.0.113.1"


def test_a_header_without_end_is_read_from_its_end_only() -> None:
    assert client("10.0.0.1", "10.0.0.2," * 100_000 + "203.0.113.1") == "203.0.113.1"
    assert client("10.0.0.1", "198.51.100.1," + "10.0.0.2," * 100_000 + "10.0.0.3") == "10.0.0.2"


def test_a_proxy_that_is_not_trusted_is_told_of_once() -> None:
    proxies = TrustedProxies([])
    request: Any = SimpleNamespace(
        remote="203.0.113.1", headers=CIMultiDict({"X-Forwarded-For": "198.51.100.1"})
    )
    with capture_logs() as logs:
        proxies.client_address(request)
        proxies.client_address(request)
    assert [(line["log_level"], line["remote"]) for line in logs] == [("warning", "203.0.113.1")]
