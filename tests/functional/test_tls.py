"""TLS by the certificate that the configuration names, for clients and towards Redis."""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from cryptography import x509

from jackfield.redis.client import RedisClient
from jackfield.testing import run_server
from tests.support.nodes import impatient, serving
from tests.support.waiting import redis_settings, wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]


class Pair(NamedTuple):
    """The files of a certificate and of its key."""

    certificate: Path
    key: Path

    def renew(self, authority: trustme.CA) -> int:
        """Write a new certificate and key.

        Returns:
            The certificate's serial number.
        """
        issued = authority.issue_cert("127.0.0.1", "localhost")
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        self.certificate.write_bytes(chain)
        self.key.write_bytes(issued.private_key_pem.bytes())
        return x509.load_pem_x509_certificate(chain).serial_number

    @property
    def keys(self) -> dict[str, str]:
        """As a configuration names them."""
        return {"tls_certificate": str(self.certificate), "tls_key": str(self.key)}


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pair(authority: trustme.CA, tmp_path: Path) -> Pair:
    pair = Pair(tmp_path / "certificate.pem", tmp_path / "key.pem")
    pair.renew(authority)
    return pair


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def serial_number(address: str, authority: trustme.CA) -> int:
    """Of the certificate that a server shows."""
    host, port = address.rpartition("/")[2].split(":")
    _, writer = await asyncio.open_connection(host, port, ssl=trusting(authority))
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(ssl.SSLError):
        await writer.wait_closed()
    return x509.load_der_x509_certificate(shown).serial_number


async def test_a_websocket_over_tls(config: Config, pair: Pair, authority: trustme.CA) -> None:
    async with run_server(config={**config, "server": pair.keys}) as server:
        assert server.url.startswith("wss://127.0.0.1:")
        async with Wire(server, welcomed=True, ssl=trusting(authority)) as wire:
            text = "x" * 60_000
            assert (await wire.ask("session.ping", {"text": text}))["payload"]["text"] == text


async def test_with_tls_nothing_is_said_without(config: Config, pair: Pair) -> None:
    async with run_server(config={**config, "server": pair.keys}) as server:
        reader, writer = await asyncio.open_connection(*server.address[8:].split(":"))
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(10):
            assert b"HTTP" not in await reader.read()
        writer.close()


async def test_what_is_older_than_tls_1_2_is_refused(
    config: Config, pair: Pair, authority: trustme.CA
) -> None:
    context = trusting(authority)
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with run_server(config={**config, "server": pair.keys}) as server:
        host, port = server.address[8:].split(":")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(host, port, ssl=context)


async def test_who_does_not_shake_hands_in_time_is_cut_off(config: Config, pair: Pair) -> None:
    quick = {**config, "server": pair.keys, "limits": {"header_timeout": "200ms"}}
    async with run_server(config=quick) as server:
        reader, writer = await asyncio.open_connection(*server.address[8:].split(":"))
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()


async def test_a_signal_has_the_certificate_read_anew_and_open_connections_stay(
    valkey_url: str, pair: Pair, authority: trustme.CA
) -> None:
    config = {**impatient(valkey_url), "server": pair.keys}
    async with serving(config) as node:
        host, port = node.address[8:].split(":")
        reader, writer = await asyncio.open_connection(host, port, ssl=trusting(authority))

        def logged(event: str) -> bool:
            return any(line["event"] == event for line in node.log)

        renewed = pair.renew(authority)
        assert await serial_number(node.address, authority) != renewed
        node.signal(signal.SIGHUP)
        await wait_until(lambda: logged("the certificate was read anew"))
        assert await serial_number(node.address, authority) == renewed

        pair.key.write_text("nonsense")
        node.signal(signal.SIGHUP)
        await wait_until(lambda: logged("the new certificate is of no use; the old one is kept"))
        assert await serial_number(node.address, authority) == renewed

        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()


@asynccontextmanager
async def behind_tls(redis_url: str, pair: Pair) -> AsyncIterator[str]:
    """The address of a Redis that speaks TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    user, _, path = redis_url.removeprefix("unix://").partition("@")

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_unix_connection(path)
        await asyncio.gather(carry(reader, outer), carry(inner, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield f"rediss://{user}@127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_redis_is_trusted_if_the_named_authorities_vouch_for_it(
    valkey_url: str, pair: Pair, authority: trustme.CA, tmp_path: Path
) -> None:
    for number, each in enumerate((authority, trustme.CA())):
        each.cert_pem.write_to_path(tmp_path / f"{number}.pem")
    async with behind_tls(valkey_url, pair) as url:
        ours, others = (
            RedisClient(replace(redis_settings(), tls_ca=str(tmp_path / f"{number}.pem")), url)
            for number in range(2)
        )
        assert await ours.ping()
        assert not await others.ping()
        await ours.close()
        await others.close()
