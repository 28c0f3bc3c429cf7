"""The socket by RFC 6455: handshakes, frames, pings and close codes, from raw bytes."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed as WireClosed

from jackfield.testing import run_server
from tests.support.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, raw
from tests.support.waiting import wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]


@pytest.mark.parametrize(
    ("opcode", "payload", "options", "code"),
    [
        (BINARY, b"{}", {}, 1003),
        (TEXT, b'{"type":"session.ping","payload":{"a":"\xff"}}', {}, 1007),
        (TEXT, b"\xc3\x28", {}, 1007),
        (TEXT, b"x" * 65537, {}, 1009),
        (TEXT, b"{}", {"rsv": 0x40}, 1002),
        (TEXT, b"{}", {"rsv": 0x10}, 1002),
        (0x3, b"", {}, 1002),
        (0xB, b"", {}, 1002),
        (CONTINUATION, b"x", {}, 1002),
        (PING, b"x", {"fin": False}, 1002),
        (PING, b"x" * 126, {}, 1002),
        (CLOSE, b"x", {}, 1002),
        (CLOSE, (1005).to_bytes(2), {}, 1002),
        (CLOSE, (999).to_bytes(2), {}, 1002),
        (CLOSE, (1000).to_bytes(2) + b"\xff", {}, 1007),
    ],
)
async def test_a_violation_is_closed_with_its_code(
    config: Config, opcode: int, payload: bytes, options: dict[str, Any], code: int
) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.message()
        client.send(opcode, payload, **options)
        assert await client.close_code() == code
        client.writer.close()
        await wait_until(lambda: len(server.node.hub) == 0)


async def test_what_was_asked_before_a_violation_is_answered_before_the_close(
    config: Config,
) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.message()
        client.send(TEXT, b'{"type":"session.ping","id":1}')
        client.send(0x3)
        assert (await client.message())["type"] == "reply"
        assert await client.close_code() == 1002


async def test_a_message_of_just_the_limit_is_taken(config: Config) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.message()
        shell = b'{"type":"session.ping","id":1,"payload":{"a":""}}'
        filler = b"x" * (65536 - len(shell))
        client.send(TEXT, shell.replace(b'""', b'"' + filler + b'"'))
        assert (await client.message())["type"] == "reply"
        client.send(TEXT, shell.replace(b'""', b'"' + filler + b'x"'))
        assert await client.close_code() == 1009


async def test_an_endless_fragmented_message_is_cut_at_the_limit(config: Config) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.message()
        client.send(TEXT, b"[" * 1000, fin=False)
        for _ in range(100):
            client.send(CONTINUATION, b"[" * 1000, fin=False)
        assert await client.close_code() == 1009


async def test_fragments_and_control_frames_between_them_make_one_message(config: Config) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.message()
        client.send(TEXT, b'{"type":"session', fin=False)
        client.send(PING, b"between")
        client.send(CONTINUATION, b'.ping","id"', fin=False)
        client.send(CONTINUATION, b":5}")
        assert await client.receive() == (PONG, b"between")
        assert await client.message() == {"type": "reply", "id": 5, "payload": {}}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "invalid_json"),
        (b"nonsense", "invalid_json"),
        (b'{"type":"session.ping","payload":{"a":NaN}}', "invalid_json"),
        (b'{"type":"session.ping","payload":{"a":Infinity}}', "invalid_json"),
        (b'{"type":"session.ping","payload":{"a":1e999}}', "invalid_json"),
        (b'{"type":"session.ping","payload":{"a":' + b"9" * 5000 + b"}}", "invalid_json"),
        (b'{"type":"session.ping","payload":{"a":"\\ud800"}}', "invalid_json"),
        (b"[" * 50_000, "invalid_json"),
        (b'{"type":"session.ping","payload":{"a":' + b"[" * 50_000, "invalid_json"),
        (b'{"type":"session.ping"} trailing', "invalid_json"),
        (b"[]", "invalid_message"),
        (b'{"type":"session.ping","extra":1}', "invalid_message"),
    ],
    ids=lambda value: value[:40].decode() if isinstance(value, bytes) else value,
)
async def test_bad_json_gets_one_error_and_the_connection_lives(
    config: Config, text: bytes, code: str
) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.message()
        client.send(TEXT, text)
        refused = await client.message()
        assert (refused["id"], refused["error"]["code"]) == (None, code)
        client.send(TEXT, b'{"type":"session.ping","id":1}')
        assert (await client.message())["type"] == "reply"


async def test_deep_payloads_are_echoed_or_refused_but_never_fatal(config: Config) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.message()
        codes = []
        for depth in range(100, 1100, 50):
            nested = b"[" * depth + b"]" * depth
            client.send(TEXT, b'{"type":"session.ping","id":1,"payload":{"a":' + nested + b"}}")
            answer = await client.message()
            codes.append(answer["error"]["code"] if answer["type"] == "error" else None)
            if answer["type"] == "reply":
                assert msgspec.json.encode(answer["payload"]) == b'{"a":' + nested + b"}"
        assert set(codes) == {None, "invalid_json"}
        client.send(TEXT, b'{"type":"session.ping","id":1}')
        assert (await client.message())["type"] == "reply"


async def test_every_ping_is_answered_with_its_own_payload(config: Config) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.message()
        client.send(PING)
        client.send(PING, b"x" * 125)
        assert await client.receive() == (PONG, b"")
        assert await client.receive() == (PONG, b"x" * 125)


@pytest.mark.parametrize("payload", [b"", (1000).to_bytes(2), (3001).to_bytes(2) + b"bye"])
async def test_a_clients_close_is_echoed_and_the_socket_ends(
    config: Config, payload: bytes
) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.message()
        client.send(CLOSE, payload)
        assert await client.receive() == (CLOSE, payload[:2])
        assert await client.ends()
        await wait_until(lambda: len(server.node.hub) == 0)


async def test_a_client_that_vanishes_without_a_close_is_cleaned_up(config: Config) -> None:
    async with run_server(config=config) as server:
        async with raw(server) as client:
            await client.message()
            assert len(server.node.hub) == 1
        await wait_until(lambda: len(server.node.hub) == 0)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"origin": "http://evil.example"}, 4503),
        ({"subprotocol": "graphql-ws"}, 4503),
    ],
)
async def test_the_uninvited_are_told_why_and_not_to_come_back(
    config: Config, options: dict[str, Any], code: int
) -> None:
    async with run_server(config=config) as server:
        async with Wire(server, **options) as wire:
            goodbye = await wire.receive()
            assert goodbye["type"] == "goodbye"
            assert goodbye["payload"] == {
                "code": code,
                "reason": "forbidden origin or protocol",
                "reconnect": False,
            }
            assert await wire.closed() == (code, "forbidden origin or protocol")
        assert len(server.node.hub) == 0


async def test_connections_past_the_limit_are_closed_with_4504(config: Config) -> None:
    limited = {**config, "limits": {"connections": 1}}
    async with run_server(config=limited) as server:
        async with Wire(server, welcomed=True):
            async with Wire(server) as second:
                assert (await second.closed())[0] == 4504
        await wait_until(lambda: server.node.permits.taken == 0)
        async with Wire(server, welcomed=True):
            pass


async def test_nobody_is_let_in_where_no_authenticator_knows_them(config: Config) -> None:
    async with run_server(config=config, authenticators=[]) as server, Wire(server) as wire:
        assert (await wire.closed())[0] == 4501


async def test_a_client_that_does_not_pong_is_closed_with_4004(config: Config) -> None:
    quick = {**config, "connections": {"heartbeat": "100ms", "ttl": "1s"}}
    async with run_server(config=quick) as server, raw(server) as client:
        await client.message()
        assert (await client.receive())[0] == PING
        assert await client.close_code() == 4004


async def test_a_client_that_pongs_stays(config: Config) -> None:
    quick = {**config, "connections": {"heartbeat": "100ms", "ttl": "1s"}}
    async with run_server(config=quick) as server, raw(server) as client:
        await client.message()
        for _ in range(5):
            opcode, payload = await client.receive()
            assert opcode == PING
            client.send(PONG, payload)


async def test_deflate_is_used_where_both_sides_want_it(config: Config) -> None:
    compressing = {**config, "server": {"compression": True}}
    async with run_server(config=compressing) as server:
        async with Wire(server, welcomed=True, compression="deflate") as wire:
            assert wire.socket.protocol.extensions
            text = "x" * 50_000
            for number in range(20):
                answer = await wire.ask("session.ping", {"text": text}, message_id=number)
                assert answer["payload"]["text"] == text
        async with Wire(server, welcomed=True) as wire:
            assert not wire.socket.protocol.extensions
            assert (await wire.ask("session.ping"))["type"] == "reply"


async def test_a_clients_close_is_echoed_over_deflate_too(config: Config) -> None:
    compressing = {**config, "server": {"compression": True}}
    async with run_server(config=compressing) as server:
        async with Wire(server, welcomed=True, compression="deflate") as wire:
            await wire.socket.close(3001)
            assert wire.socket.protocol.close_rcvd is not None
            assert wire.socket.protocol.close_rcvd.code == 3001


async def test_the_answer_to_a_hostile_payload_stays_small(config: Config) -> None:
    async with run_server(config=config) as server, Wire(server, welcomed=True) as wire:
        key = "k" * 1000
        payload = {f"{key}{number}": number for number in range(60)}
        await wire.send({"type": "session.whoami", "id": 1, "payload": payload})
        text = await wire.receive_text()
        error = wire.decode(text)["error"]
        assert len(error["fields"]) + error["fields_omitted"] == 60
        assert len(text) < 20_000


async def test_a_deflate_bomb_is_cut_at_the_limit(config: Config) -> None:
    compressing = {**config, "server": {"compression": True}}
    async with run_server(config=compressing) as server:
        async with Wire(server, welcomed=True, compression="deflate") as wire:
            await wire.send_text("[" * 10_000_000)
            with pytest.raises(WireClosed):
                await wire.receive()
            assert wire.socket.close_code == 1009
