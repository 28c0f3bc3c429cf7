"""RFC 6455, section 7: the close handshake, whoever begins it."""

from collections.abc import Mapping
from typing import Any

import pytest

from jackfield.testing import run_server
from tests.support.raw import CLOSE, TEXT, raw
from tests.support.waiting import wait_until

Config = Mapping[str, Any]


@pytest.mark.parametrize(
    "code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4001, 4999]
)
async def test_5_5_1_a_close_is_echoed_with_its_code_and_the_server_closes_the_socket(
    config: Config, code: int
) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.welcome()
        client.send(CLOSE, code.to_bytes(2) + "auf Wiederlesen, tschüß".encode())
        assert await client.receive() == (CLOSE, code.to_bytes(2))
        assert await client.ends()
        await wait_until(lambda: len(server.node.hub) == 0)


async def test_7_1_5_a_close_without_a_code_is_echoed_without_one(config: Config) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.welcome()
        client.send(CLOSE)
        assert await client.receive() == (CLOSE, b"")
        assert await client.ends()


@pytest.mark.parametrize(
    "code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 9999, 65_535]
)
async def test_7_4_a_code_that_must_not_be_sent_is_answered_with_1002(
    config: Config, code: int
) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.welcome()
        client.send(CLOSE, code.to_bytes(2))
        assert await client.close_code() == 1002
        client.writer.close()
        await wait_until(lambda: len(server.node.hub) == 0)


@pytest.mark.parametrize(
    ("payload", "code"), [(b"\x03", 1002), ((1000).to_bytes(2) + b"\xff", 1007)]
)
async def test_7_1_6_a_close_that_is_not_well_formed_is_answered_with_its_fault(
    config: Config, payload: bytes, code: int
) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.welcome()
        client.send(CLOSE, payload)
        assert await client.close_code() == code


async def test_5_5_1_nothing_after_a_close_is_handled(config: Config) -> None:
    async with run_server(config=config) as server, raw(server) as client:
        await client.welcome()
        client.send(CLOSE, (1000).to_bytes(2))
        client.send(TEXT, b'{"type":"session.ping","id":1}')
        assert await client.receive() == (CLOSE, (1000).to_bytes(2))
        assert await client.ends()
