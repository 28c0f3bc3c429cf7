"""RFC 6455, section 4: which requests become WebSockets, and what the others are answered."""

from collections.abc import Mapping
from typing import Any

import pytest

from jackfield.testing import run_server
from tests.support.raw import ask, raw, upgrade

Config = Mapping[str, Any]

#: Section 4.2.1 lists what a handshake must have.
NO_HANDSHAKE = {
    "no Upgrade": upgrade(without="Upgrade"),
    "another Upgrade": upgrade("Upgrade: h2c"),
    "no Connection": upgrade(without="Connection"),
    "another Connection": upgrade("Connection: keep-alive"),
    "no key": upgrade(without="Sec-WebSocket-Key"),
    "a short key": upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZQ=="),
    "a long key": upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSwgYW5kIG1vcmU="),
    "a key that is no base64": upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!!="),
    "two keys": upgrade(*["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] * 2),
    "no Host": upgrade(without="Host"),
    "HTTP/1.0": upgrade(start="GET /ws HTTP/1.0"),
    "HEAD": upgrade(start="HEAD /ws HTTP/1.1"),
    "POST": upgrade(start="POST /ws HTTP/1.1"),
}


@pytest.mark.parametrize("request_", NO_HANDSHAKE.values(), ids=NO_HANDSHAKE)
async def test_4_2_1_what_is_no_handshake_is_not_upgraded(config: Config, request_: bytes) -> None:
    async with run_server(config=config) as server:
        answer = await ask(server, request_)
        assert answer.status in (400, 405, 426)
        assert len(server.node.hub) == 0


@pytest.mark.parametrize(
    "headers",
    [
        ("Upgrade: WebSocket", "Connection: keep-alive, UPGRADE"),
        ("sec-websocket-version: 13", "SEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ=="),
    ],
)
async def test_4_2_1_names_are_the_same_in_any_case(
    config: Config, headers: tuple[str, ...]
) -> None:
    request = upgrade(*headers)
    for name in ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="):
        if name.lower() in (header.lower() for header in headers):
            request = request.replace(f"{name}\r\n".encode(), b"", 1)
    async with run_server(config=config) as server:
        assert (await ask(server, request)).status == 101


async def test_4_2_2_a_handshake_is_answered_with_the_accepted_key(config: Config) -> None:
    async with run_server(config=config) as server:
        async with raw(server, "Sec-WebSocket-Protocol: other, jackfield.v1") as client:
            headers = client.answer.headers
            assert client.answer.status == 101
            assert headers["Upgrade"].lower() == "websocket"
            assert headers["Connection"].lower() == "upgrade"
            assert headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            assert headers["Sec-WebSocket-Protocol"] == "jackfield.v1"
            assert "Sec-WebSocket-Extensions" not in headers


@pytest.mark.parametrize(
    "versions", [(), ("7",), ("8",), ("12",), ("14",), ("",), ("013",), ("13, 8",), ("13", "8")]
)
async def test_4_4_another_version_is_answered_with_426_and_the_one_that_is_spoken(
    config: Config, versions: tuple[str, ...]
) -> None:
    headers = [f"Sec-WebSocket-Version: {version}" for version in versions]
    async with run_server(config=config) as server:
        answer = await ask(server, upgrade(*headers, without="Sec-WebSocket-Version"))
        assert answer.status == 426
        assert answer.headers.getall("Sec-WebSocket-Version") == ["13"]
        assert answer.headers["Upgrade"] == "websocket"
        assert answer.problem["code"] == "invalid_message"
        assert len(server.node.hub) == 0
