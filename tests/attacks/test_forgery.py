"""What clients say about themselves changes neither who they are nor what the log says."""

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import structlog

from jackfield.config import LoggingSettings
from jackfield.telemetry import log
from jackfield.testing import RunningServer, run_server
from tests.attacks.careless import careless
from tests.support.raw import CLOSE, TEXT, masked
from tests.support.waiting import wait_until
from tests.support.wire import PATIENCE, Wire

Config = Mapping[str, Any]

#: Ends of lines, then what would pass for a line of the log; and what a terminal obeys.
FORGED = "FORGED"
HOSTILE = f"x\r\n{FORGED}\u2028{FORGED}\x1b[2J\x1b]0;title\x07\x9b31m\u202e\x00\x7f"
SECRET = "s3cr3t-t0k3n"


@pytest.fixture(params=["json", "console"])
def written(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """All that was logged so far, as it is written, in either format."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with contextlib.redirect_stderr(io.StringIO()) as output:
        log.configure(LoggingSettings(format=request.param, level="debug"))
    yield output.getvalue
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("forged", ["192.0.2.1", "10.0.0.1", "192.0.2.1, 10.0.0.1", "nonsense"])
async def test_a_forwarding_header_of_a_stranger_changes_nothing(
    config: Config, forged: str
) -> None:
    proxied = {**config, "server": {"trusted_proxies": ["10.0.0.0/8"]}}
    async with run_server(config=proxied) as server:
        async with Wire(server, welcomed=True, additional_headers={"X-Forwarded-For": forged}):
            (connection,) = server.node.hub
            assert connection.remote == "127.0.0.1"


async def say(server: RunningServer, data: bytes) -> None:
    """Send bytes, and a close frame behind them, which ends whatever they have begun."""
    reader, writer = await asyncio.open_connection(*server.address[7:].split(":"))
    writer.write(data + masked(CLOSE, (1000).to_bytes(2)))
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            await reader.read()
    writer.close()


def handshake(*lines: bytes, target: bytes = b"/ws") -> bytes:
    return b"\r\n".join(
        (
            b"GET %b HTTP/1.1" % target,
            b"Host: 127.0.0.1",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            b"Sec-WebSocket-Version: 13",
            *lines,
            b"\r\n",
        )
    )


def message(message_type: str, payload: Any, message_id: Any = 1) -> bytes:
    body = {"type": message_type, "id": message_id, "payload": payload}
    return masked(TEXT, json.dumps(body).encode())


async def test_nothing_a_client_sends_passes_for_a_line_of_the_log(
    config: Config, written: Callable[[], str]
) -> None:
    raw = HOSTILE.encode()
    proxied = {**config, "server": {"trusted_proxies": ["127.0.0.1"]}}
    async with run_server(careless, config=proxied) as server:
        headers = (
            b"X-Forwarded-For: fe80::1%" + raw,
            b"X-Forwarded-For: 192.0.2.1\x1b[2J, 192.0.2.2",
            b"Origin: http://" + raw,
            b"Origin: http://evil.example\x1b[2J",
            b"Sec-WebSocket-Protocol: " + raw,
            b"Sec-WebSocket-Protocol: jackfield.v1\x1b[2J",
            b"User-Agent: " + raw,
            b"Authorization: Bearer " + raw,
            b"Cookie: session=" + raw,
            b"Sec-WebSocket-Key: " + raw,
        )
        targets = (b"/" + raw, b"/ws?ticket=" + raw, b"/%0d%0aFORGED", b"/ws?ticket=%0d%0aFORGED")
        frames = (
            message(HOSTILE, {}),
            message("session.ping", {HOSTILE: HOSTILE}, HOSTILE),
            message("session.whoami", {HOSTILE: HOSTILE}),
            message("careless.quote", {"value": HOSTILE}),
            message("careless.log", {"value": HOSTILE}),
            message("careless.exit_in_schema", {"value": HOSTILE}),
            message("topic.subscribe", {"topic": HOSTILE}),
            message("auth", {"token": HOSTILE}),
            masked(TEXT, raw),
            masked(CLOSE, (4000).to_bytes(2) + raw[:100]),
        )
        await asyncio.gather(
            say(server, raw),
            *(say(server, handshake(header)) for header in headers),
            *(say(server, handshake(target=target)) for target in targets),
            *(say(server, handshake() + frame) for frame in frames),
        )
        await wait_until(lambda: len(server.node.hub) == 0)
    lines = written().split("\n")
    assert sum("careless" in line for line in lines) >= 3
    for line in lines:
        assert not line.startswith(FORGED)
        assert all(each.isprintable() for each in line.replace("\x7f", "")), line
        if line.startswith("{"):
            json.loads(line)


async def test_no_token_ticket_or_payload_is_logged(
    config: Config, written: Callable[[], str]
) -> None:
    async with run_server(careless, config=config) as server:
        secret = SECRET.encode()
        requests = (
            handshake(b"Authorization: Bearer " + secret),
            handshake(target=b"/ws?ticket=" + secret),
            handshake(b"Origin: http://127.0.0.1:8080", b"Cookie: session=" + secret),
            handshake(target=b"/ws?ticket=" + secret + b"\x01"),
            handshake(b"Authorization: Bearer " + secret + b"\x01"),
            handshake(b"Bad Header: " + secret),
            handshake() + message("auth", {"token": SECRET}),
            handshake() + message("auth.refresh", {"token": SECRET}),
            handshake() + message("session.ping", {"text": SECRET}),
            handshake() + message("session.whoami", {"text": SECRET}),
            handshake() + message("careless.fail", {"text": SECRET}),
            handshake() + message("careless.log", {}),
            handshake() + masked(TEXT, b'{"type": "' + secret),
        )
        await asyncio.gather(*(say(server, request) for request in requests))
        await wait_until(lambda: len(server.node.hub) == 0)
    assert "closed" in written()
    assert SECRET not in written()
