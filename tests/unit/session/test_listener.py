"""A site listens where it is told, with TLS if it has a certificate, and reads that anew."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
import trustme
from aiohttp import web

from jackfield.config import ServerSettings, load_settings
from jackfield.session.listener import Site, listening_address, socket_address
from jackfield.session.request_heads import WaitingClients
from jackfield.telemetry.log import RateLimitedLog
from tests.support.connected import limits_of
from tests.support.waiting import wait_until


def settings(**changes: Any) -> ServerSettings:
    return replace(load_settings(None, {}, {}).server, **{"port": 0, **changes})


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def certificate(authority: trustme.CA, folder: Path) -> dict[str, str]:
    """Write a certificate with its key into one file, and return its settings."""
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    return {"tls_certificate": str(folder / "both.pem")}


@asynccontextmanager
async def listening(
    server: ServerSettings, **limits: Any
) -> AsyncIterator[tuple[Site, str, WaitingClients]]:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    waiting = WaitingClients(limits_of(limits), RateLimitedLog(structlog.get_logger("jackfield")))
    try:
        site = Site(runner, waiting, server)
        await site.start()
        yield site, listening_address(runner, server), waiting
    finally:
        await runner.cleanup()


async def get(address: str, context: ssl.SSLContext | None = None) -> tuple[bytes, Any]:
    """What ``/`` answers, and the serial number of the certificate."""
    host, port = address.partition("://")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    peer = writer.get_extra_info("peercert")
    writer.close()
    return answer, None if peer is None else peer["serialNumber"]


async def test_it_listens_on_a_free_port() -> None:
    async with listening(settings()) as (site, address, _):
        assert address.startswith("http://127.0.0.1:")
        assert not address.endswith(":0")
        assert site.name == "http://127.0.0.1:0"
        answer, _ = await get(address)
        assert answer.endswith(b"hello")


@pytest.mark.parametrize(
    ("bound", "reached"),
    [
        (("0.0.0.0", 8080), "127.0.0.1:8080"),
        (("::", 8080, 0, 0), "[::1]:8080"),
        (("192.0.2.1", 80), "192.0.2.1:80"),
    ],
)
def test_a_client_on_this_machine_finds_its_websocket(bound: tuple[Any, ...], reached: str) -> None:
    runner: Any = SimpleNamespace(addresses=[bound])
    assert socket_address(runner, settings()) == f"ws://{reached}/ws"
    assert socket_address(runner, settings(tls_certificate="a.pem")) == f"wss://{reached}/ws"


async def test_its_clients_are_those_that_are_bounded() -> None:
    async with listening(settings(), unauthenticated=1) as (_, address, waiting):
        host, port = address.partition("://")[2].split(":")
        first, writer = await asyncio.open_connection(host, int(port))
        await wait_until(lambda: len(waiting) == 1)
        _, other = await asyncio.open_connection(host, int(port))
        assert await first.read() == b""
        for each in (writer, other):
            each.close()


@pytest.mark.parametrize(
    ("server", "name"),
    [
        ({"host": "::1", "port": 1}, "http://[::1]:1"),
        ({"host": "0.0.0.0", "port": 80}, "http://0.0.0.0:80"),
    ],
)
async def test_its_name_is_a_url(server: dict[str, Any], name: str) -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    waiting = WaitingClients(limits_of({}), RateLimitedLog(None))
    assert Site(runner, waiting, settings(**server)).name == name
    await runner.cleanup()


async def test_with_a_certificate_it_speaks_tls(authority: trustme.CA, tmp_path: Path) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with listening(settings(**certificate(authority, tmp_path))) as (_, address, _):
        assert address.startswith("https://127.0.0.1:")
        answer, serial = await get(address, context)
        assert answer.endswith(b"hello")
        assert serial


async def test_files_that_can_not_be_used_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    with pytest.raises(ValueError, match=r"none\.pem"):
        async with listening(settings(tls_certificate=str(tmp_path / "none.pem"))):
            pass


async def test_a_certificate_is_read_anew_and_a_wrong_one_changes_nothing(
    authority: trustme.CA, tmp_path: Path, logged: Callable[[], str]
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with listening(settings(**certificate(authority, tmp_path))) as (site, address, _):
        _, first = await get(address, context)
        (tmp_path / "both.pem").write_text("no certificate")
        site.reload_certificate()
        assert '"level": "error"' in logged()
        _, second = await get(address, context)
        assert second == first
        certificate(authority, tmp_path)
        site.reload_certificate()
        _, third = await get(address, context)
        assert third != first
        assert "the certificate was read anew" in logged()
