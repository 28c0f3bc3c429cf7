"""Who asks for more than there is for them is told so, and costs nobody else anything."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from jackfield import Context, Plugin
from jackfield.auth import Credentials
from jackfield.testing import run_server
from jackfield.wire.identity import Identity
from tests.support.raw import PING, PONG, TEXT, raw
from tests.support.waiting import wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]


def limited(config: Config, **limits: Any) -> Config:
    return {**config, "limits": limits}


def slow_to_refill() -> Plugin:
    """A plugin with one handler that takes three messages an hour."""
    plugin = Plugin("scarce")

    @plugin.handler("scarce.take", rate="3/h")
    async def take(ctx: Context, data: dict[str, Any]) -> None: ...

    @plugin.handler("scarce.other", rate="3/h")
    async def other(ctx: Context, data: dict[str, Any]) -> None: ...

    return plugin


async def test_a_handlers_rate_is_each_connections_own(config: Config) -> None:
    async with run_server(slow_to_refill(), config=config) as server:
        for _ in range(2):
            async with Wire(server, welcomed=True) as wire:
                for _ in range(3):
                    assert (await wire.ask("scarce.take"))["type"] == "reply"
                error = (await wire.ask("scarce.take"))["error"]
                assert (error["code"], error["retryable"]) == ("rate_limited", True)
                assert 1190 < error["retry_after"] <= 1200
                assert (await wire.ask("scarce.other"))["type"] == "reply"
                assert (await wire.ask("session.ping"))["type"] == "reply"


async def test_what_is_refused_for_its_payload_counts_all_the_same(config: Config) -> None:
    async with run_server(slow_to_refill(), config=config) as server:
        async with Wire(server, welcomed=True) as wire:
            codes = [
                (await wire.ask("scarce.take", {"no": "such key"}))["error"]["code"]
                for _ in range(4)
            ]
            assert codes == ["invalid_payload"] * 3 + ["rate_limited"]


async def test_to_wait_as_long_as_one_is_told_is_enough(config: Config) -> None:
    plugin = Plugin("quick")

    @plugin.handler("quick.take", rate="5/s")
    async def take(ctx: Context, data: dict[str, Any]) -> None: ...

    async with run_server(plugin, config=config) as server:
        async with Wire(server, welcomed=True) as wire:
            answers = [await wire.ask("quick.take") for _ in range(6)]
            refused = next(answer for answer in answers if answer["type"] == "error")
            await asyncio.sleep(refused["error"]["retry_after"])
            assert (await wire.ask("quick.take"))["type"] == "reply"


async def test_messages_past_the_connections_rate_are_refused_under_their_ids(
    config: Config,
) -> None:
    async with run_server(config=limited(config, requests_per_second=5)) as server:
        async with Wire(server, welcomed=True) as wire:
            for number in range(9):
                await wire.send({"type": "session.ping", "id": number})
            answers = {answer["id"]: answer for answer in [await wire.receive() for _ in range(9)]}
            assert [answers[number]["type"] for number in range(5)] == ["reply"] * 5
            error = answers[8]["error"]
            assert error["code"] == "rate_limited"
            assert 0 < error["retry_after"] <= 0.2
            assert server.node.dispatcher.failures["rate_limited"] >= 1


async def test_whoever_goes_on_far_past_the_rate_is_closed_with_4005(config: Config) -> None:
    async with run_server(config=limited(config, requests_per_second=5)) as server:
        async with raw(server) as client:
            await client.message()
            for _ in range(50):
                client.send(TEXT, b'{"type":"session.ping","id":1}')
            assert await client.close_code() == 4005
        async with raw(server) as client:
            await client.message()
            for _ in range(50):
                client.send(PING)
            assert await client.close_code() == 4005
        await wait_until(lambda: len(server.node.hub) == 0)


async def test_a_payload_that_is_too_deep_is_refused_and_the_connection_lives(
    config: Config,
) -> None:
    async with run_server(config=limited(config, nesting=10)) as server:
        async with Wire(server, welcomed=True) as wire:
            for depth, answer in ((10, "reply"), (11, "error")):
                payload: Any = "not short"
                for _ in range(depth):
                    payload = {"a": payload}
                reply = await wire.ask("session.ping", payload)
                assert reply["type"] == answer
            assert reply["error"]["code"] == "invalid_json"


async def test_a_client_without_a_message_for_too_long_is_closed(config: Config) -> None:
    quick = {
        **limited(config, idle_timeout="300ms"),
        "connections": {"heartbeat": "100ms", "ttl": "1s"},
    }
    async with run_server(config=quick) as server:
        async with Wire(server, welcomed=True) as idle, Wire(server, welcomed=True) as busy:
            closed = asyncio.create_task(idle.closed())

            async def has_closed() -> bool:
                assert (await busy.ask("session.ping"))["type"] == "reply"
                return closed.done()

            await wait_until(has_closed)
            assert closed.result() == (1000, "idle")


async def test_whoever_waits_for_an_answer_is_not_idle(config: Config) -> None:
    plugin = Plugin("slow")
    release = asyncio.Event()

    @plugin.handler("slow.answer")
    async def answer(ctx: Context, data: dict[str, Any]) -> None:
        await release.wait()

    quick = {
        **limited(config, idle_timeout="1ms"),
        "connections": {"heartbeat": "100ms", "ttl": "1s"},
    }
    async with run_server(plugin, config=quick) as server, raw(server) as client:
        await client.message()
        client.send(TEXT, b'{"type":"slow.answer","id":1}')
        for _ in range(4):  # at each heartbeat the server looks who is idle
            assert await client.receive() == (PING, b"")
            client.send(PONG)
        release.set()
        while (received := await client.receive())[0] == PING:
            client.send(PONG)
        assert received == (TEXT, b'{"type":"reply","id":1,"payload":{}}')


def from_address(address: str) -> dict[str, Any]:
    return {"additional_headers": {"X-Forwarded-For": address}}


async def test_one_address_has_so_many_connections_and_others_have_theirs(config: Config) -> None:
    proxied = {
        **limited(config, connections_per_address=2),
        "server": {"trusted_proxies": ["127.0.0.1"]},
    }
    async with run_server(config=proxied) as server:
        async with (
            Wire(server, welcomed=True, **from_address("192.0.2.1")),
            Wire(server, welcomed=True, **from_address("192.0.2.1")),
        ):
            async with Wire(server, **from_address("192.0.2.1")) as third:
                assert await third.closed() == (4504, "connection limit")
            async with Wire(server, welcomed=True, **from_address("192.0.2.2")) as other:
                assert (await other.ask("session.ping"))["type"] == "reply"
                addresses = sorted(connection.remote for connection in server.node.hub)
                assert addresses == ["192.0.2.1", "192.0.2.1", "192.0.2.2"]
        await wait_until(lambda: not server.node.permits.by_address)


class Everyone:
    """Believes what a client says, as no authenticator should."""

    async def authenticate(self, credentials: Credentials) -> Identity:
        return Identity(credentials.token)


async def test_one_user_has_so_many_connections_and_others_have_theirs(config: Config) -> None:
    def named(user: str) -> dict[str, Any]:
        return {"additional_headers": {"Authorization": f"Bearer {user}"}}

    one_each = limited(config, connections_per_user=1)
    async with run_server(config=one_each, authenticators=[Everyone()]) as server:
        async with Wire(server, welcomed=True, **named("alice")):
            async with Wire(server, **named("alice")) as second:
                assert await second.closed() == (4504, "connection limit")
            async with Wire(server, welcomed=True, **named("bob")):
                pass
        await wait_until(lambda: not server.node.permits.by_user)
        async with Wire(server, welcomed=True, **named("alice")):
            pass


async def test_a_plugin_runs_no_more_handlers_at_once_than_it_says(config: Config) -> None:
    plugin, neighbour = Plugin("narrow", concurrency=2), Plugin("neighbour")
    release = asyncio.Event()

    @plugin.handler("narrow.wait", concurrent=True)
    async def wait(ctx: Context, data: dict[str, Any]) -> None:
        await release.wait()

    @plugin.handler("narrow.stream")
    async def stream(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        yield {}
        await release.wait()

    @neighbour.handler("neighbour.answer")
    async def answer(ctx: Context, data: dict[str, Any]) -> None: ...

    async with run_server(plugin, neighbour, config=config) as server:
        async with Wire(server, welcomed=True) as one, Wire(server, welcomed=True) as other:
            await one.send({"type": "narrow.stream", "id": 1})
            assert (await one.receive())["type"] == "chunk"
            await one.send({"type": "narrow.wait", "id": 2})
            error = (await one.ask("narrow.wait"))["error"]
            assert (error["code"], error["retry_after"]) == ("rate_limited", 1.0)
            assert (await other.ask("narrow.stream"))["error"]["code"] == "rate_limited"
            assert (await other.ask("neighbour.answer"))["type"] == "reply"
            release.set()
            assert {(await one.receive())["id"] for _ in range(2)} == {1, 2}
            assert (await other.ask("narrow.wait"))["type"] == "reply"


async def test_a_handler_that_fails_gives_its_place_back(config: Config) -> None:
    plugin = Plugin("narrow", concurrency=1)

    @plugin.handler("narrow.fail")
    async def fail(ctx: Context, data: dict[str, Any]) -> None:
        raise RuntimeError("a fault")

    @plugin.handler("narrow.fail_in_thread")
    def fail_in_thread(ctx: Context, data: dict[str, Any]) -> None:
        raise RuntimeError("a fault")

    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        for handler in ("narrow.fail", "narrow.fail_in_thread") * 3:
            assert (await wire.ask(handler))["error"]["code"] == "internal"


async def test_a_thread_keeps_its_place_until_it_has_ended_and_not_only_its_time(
    config: Config,
) -> None:
    plugin = Plugin("narrow", concurrency=1)
    release = threading.Event()

    @plugin.handler("narrow.hang", timeout="50ms")
    def hang(ctx: Context, data: dict[str, Any]) -> None:
        release.wait(30)

    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        try:
            assert (await wire.ask("narrow.hang"))["error"]["code"] == "timeout"
            assert (await wire.ask("narrow.hang"))["error"]["code"] == "rate_limited"
        finally:
            release.set()

        async def is_free() -> bool:
            answer = await wire.ask("narrow.hang")
            return bool(answer["type"] == "reply")

        await wait_until(is_free)


async def test_plain_handlers_have_so_many_threads_and_wait_for_one(config: Config) -> None:
    plugin = Plugin("plain")
    inside: set[int] = set()
    release = threading.Event()

    @plugin.handler("plain.wait", concurrent=True)
    def wait(ctx: Context, data: dict[str, Any]) -> None:
        inside.add(threading.get_ident())
        release.wait(30)

    async with run_server(plugin, config=limited(config, threads=2)) as server:
        async with Wire(server, welcomed=True) as wire:
            try:
                for number in range(4):
                    await wire.send({"type": "plain.wait", "id": number})
                await wait_until(lambda: len(inside) == 2)
            finally:
                release.set()
            assert {(await wire.receive())["id"] for _ in range(4)} == {0, 1, 2, 3}
            assert len(inside) == 2


@pytest.mark.parametrize("path", ["/", "/healthz", "/ws"])
async def test_a_head_that_is_too_large_is_answered_with_431(config: Config, path: str) -> None:
    async with run_server(config=limited(config, header_bytes=4096)) as server:
        reader, writer = await asyncio.open_connection(*server.address[7:].split(":"))
        writer.write(f"GET {path} HTTP/1.1\r\n".encode())
        for number in range(100):
            writer.write(f"X-{number}: {'x' * 100}\r\n".encode())
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        writer.close()


async def test_a_body_is_no_part_of_the_head(config: Config) -> None:
    async with run_server(config=limited(config, header_bytes=1024)) as server:
        reader, writer = await asyncio.open_connection(*server.address[7:].split(":"))
        for _ in range(3):
            writer.write(b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
            writer.write(b"x" * 100_000)
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 405 ")
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                await reader.readexactly(length)
        writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET / HT"]
)
async def test_who_does_not_finish_a_head_in_time_is_cut_off(config: Config, sent: bytes) -> None:
    async with run_server(config=limited(config, header_timeout="200ms")) as server:
        reader, writer = await asyncio.open_connection(*server.address[7:].split(":"))
        writer.write(sent)
        async with asyncio.timeout(10):
            answer = await reader.read()
        # A whole request is answered, and half a one by nothing but the end.
        assert answer[:12] == (b"HTTP/1.1 200" if b"\r\n\r\n" in sent else b"")
        writer.close()
        await wait_until(lambda: len(server.node.waiting_clients) == 0)


async def test_a_websocket_may_be_quiet_for_longer_than_a_head_may_take(config: Config) -> None:
    async with run_server(config=limited(config, header_timeout="50ms")) as server:
        async with Wire(server, welcomed=True) as wire:
            async with Wire(server, welcomed=True):
                assert len(server.node.waiting_clients) == 0
            reader, writer = await asyncio.open_connection(*server.address[7:].split(":"))
            async with asyncio.timeout(10):
                assert await reader.read() == b""  # the time is over for who says nothing
            writer.close()
            assert (await wire.ask("session.ping"))["type"] == "reply"
