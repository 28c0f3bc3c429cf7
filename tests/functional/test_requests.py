"""A message and its answer, over a real socket, by every kind of handler."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from marshmallow import Schema, fields
from structlog.testing import capture_logs

from jackfield import AnyPayload, Context, Error, Plugin
from jackfield.auth import Credentials
from jackfield.client import RequestError
from jackfield.testing import run_server
from jackfield.wire.identity import Identity
from tests.support.waiting import wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]


class Number(Schema):
    n = fields.Integer(required=True)


class Gate:
    """Lets handlers be held, and counts those that are inside."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.inside: list[Any] = []
        self.cancelled: list[Any] = []

    async def hold(self, what: Any) -> None:
        self.inside.append(what)
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled.append(what)
            raise


def gated(gate: Gate, *, concurrent: bool = False) -> Plugin:
    """A plugin whose one handler holds at the gate, under its message's id."""
    plugin = Plugin("gate")

    @plugin.handler("gate.pass", concurrent=concurrent)
    async def enter(ctx: Context, data: dict[str, Any]) -> None:
        await gate.hold(ctx.id)

    return plugin


async def test_an_answer_has_the_protocols_exact_bytes(config: Config) -> None:
    async with run_server(config=config) as server, Wire(server) as wire:
        welcome = await wire.receive()
        assert list(welcome) == ["type", "payload"]
        (broadcast,) = welcome["payload"]["topics"].values()
        assert welcome["payload"] | {"connection": "c"} == {
            "connection": "c",
            "user": None,
            "protocol": 1,
            "heartbeat": 15,
            "limits": {"message_bytes": 65536, "in_flight": 64},
            "topics": {"broadcast": {"epoch": broadcast["epoch"], "offset": 0}},
        }
        await wire.send_text('{"type":"session.ping","id":7,"payload":{"a":[1,"\\u00e9"]}}')
        assert await wire.receive_text() == '{"type":"reply","id":7,"payload":{"a":[1,"é"]}}'
        await wire.send_text('{"type":"nope.nope","id":"x"}')
        assert await wire.receive_text() == (
            '{"type":"error","id":"x","error":{"code":"unknown_type",'
            '"message":"There is no such message type.","retryable":false,"suggestions":[]}}'
        )


async def test_messagepack_clients_get_the_same_in_binary(config: Config) -> None:
    async with run_server(config=config) as server:
        async with Wire(server, subprotocol="jackfield.v1.msgpack") as wire:
            assert (await wire.receive())["type"] == "welcome"
            await wire.send({"type": "session.ping", "id": 1, "payload": {"a": 1}})
            assert await wire.receive() == {"type": "reply", "id": 1, "payload": {"a": 1}}


async def test_a_message_without_an_id_gets_no_reply_but_its_error(config: Config) -> None:
    async with run_server(config=config) as server, Wire(server, welcomed=True) as wire:
        await wire.send({"type": "session.ping", "payload": {"a": 1}})
        await wire.send({"type": "session.whoami", "payload": {"a": 1}})
        error = await wire.receive()
        assert error["id"] is None
        assert error["error"]["code"] == "invalid_payload"
        assert error["error"]["fields"] == [
            {"pointer": "/a", "code": "unknown", "message": "Unknown field."}
        ]


async def test_near_names_are_suggested_for_an_unknown_type_but_not_for_ever(
    config: Config,
) -> None:
    async with run_server(config=config) as server, Wire(server, welcomed=True) as wire:
        suggestions = []
        for number in range(12):
            answer = await wire.ask("session.whoam", message_id=number)
            suggestions.append(answer["error"]["suggestions"])
        assert suggestions[0][0] == "session.whoami"
        assert suggestions[-1] == []


async def test_handlers_run_in_order_for_each_connection(config: Config) -> None:
    plugin = Plugin("order")

    @plugin.handler("order.add", Number)
    async def add(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        if data["n"] == 0:
            await asyncio.wait_for(slow.wait(), 10)
        seen.append(data["n"])
        return data

    slow, seen = asyncio.Event(), list[int]()
    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        for number in range(5):
            await wire.send({"type": "order.add", "id": number, "payload": {"n": number}})
        await wait_until(lambda: len(_connection(server).requests) == 5)
        slow.set()
        answers = [await wire.receive() for _ in range(5)]
        assert seen == [0, 1, 2, 3, 4]
        assert [answer["id"] for answer in answers] == [0, 1, 2, 3, 4]


async def test_a_waiting_handler_keeps_nothing_else_from_being_read(config: Config) -> None:
    gate = Gate()
    plugin = gated(gate)
    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        await wire.send({"type": "gate.pass", "id": 1})
        await wait_until(lambda: gate.inside == [1])
        pong = await wire.socket.ping(b"still there?")
        await asyncio.wait_for(pong, 10)
        assert (await wire.ask("nope.nope", message_id=2))["error"]["code"] == "unknown_type"
        assert (await wire.ask("request.cancel", {"id": 99}, message_id=3))["payload"] == {
            "cancelled": False
        }
        gate.opened.set()
        assert await wire.receive() == {"type": "reply", "id": 1, "payload": {}}


async def test_concurrent_handlers_run_side_by_side(config: Config) -> None:
    gate = Gate()
    plugin = gated(gate, concurrent=True)
    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        for number in range(3):
            await wire.send({"type": "gate.pass", "id": number})
        await wait_until(lambda: gate.inside == [0, 1, 2])
        gate.opened.set()
        assert {(await wire.receive())["id"] for _ in range(3)} == {0, 1, 2}


async def test_a_plain_function_runs_in_a_thread(config: Config) -> None:
    plugin = Plugin("threads")

    @plugin.handler("threads.name")
    def name(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        return {"thread": threading.current_thread().name}

    async with run_server(plugin, config=config) as server, server.connect() as client:
        answer = await client.request("threads.name")
        assert answer["thread"] != threading.current_thread().name


async def test_a_stream_sends_numbered_chunks_and_then_its_reply(config: Config) -> None:
    plugin = Plugin("count")

    @plugin.handler("count.to", Number)
    async def count(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for number in range(data["n"]):
            yield {"number": number}

    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        await wire.send({"type": "count.to", "id": 1, "payload": {"n": 2}})
        assert [await wire.receive_text() for _ in range(3)] == [
            '{"type":"chunk","id":1,"seq":0,"payload":{"number":0}}',
            '{"type":"chunk","id":1,"seq":1,"payload":{"number":1}}',
            '{"type":"reply","id":1,"payload":{}}',
        ]
        await wire.send({"type": "count.to", "payload": {"n": 2}})
        refused = await wire.receive()
        assert refused["error"]["code"] == "invalid_message"
        assert refused["error"]["fields"][0]["pointer"] == "/id"


async def test_a_stream_faster_than_its_client_waits_for_it(config: Config) -> None:
    plugin = Plugin("flood")
    size, chunks = 10_000, 1_000  # ten times what may be queued for a connection

    @plugin.handler("flood.all")
    async def flood(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for _ in range(chunks):
            yield {"text": "x" * size}

    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        await wire.send({"type": "flood.all", "id": 1})
        received = [await wire.receive() for _ in range(chunks + 1)]
        assert [message.get("seq") for message in received[:-1]] == list(range(chunks))
        assert received[-1]["type"] == "reply"


async def test_cancelling_ends_a_request_with_cancelled(config: Config) -> None:
    plugin = Plugin("gate")
    gate = Gate()

    @plugin.handler("gate.pass")
    async def enter(ctx: Context, data: dict[str, Any]) -> None:
        await gate.hold("in order")

    @plugin.handler("gate.stream")
    async def stream(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        yield {}
        await gate.hold("stream")

    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        await wire.send({"type": "gate.stream", "id": "s"})
        await wire.send({"type": "gate.pass", "id": "first"})
        await wire.send({"type": "gate.pass", "id": "queued"})
        assert (await wire.receive())["type"] == "chunk"
        await wait_until(lambda: len(_connection(server).requests) == 3)
        for message_id in ("s", "queued", "first"):
            await wire.send({"type": "request.cancel", "id": 0, "payload": {"id": message_id}})
            answers = [await wire.receive() for _ in range(1 if message_id == "queued" else 2)]
            assert {"type": "reply", "id": 0, "payload": {"cancelled": True}} in answers
            if message_id != "queued":
                ended = next(answer for answer in answers if answer["type"] == "error")
                assert (ended["id"], ended["error"]["code"]) == (message_id, "cancelled")
        queued = await wire.receive()
        assert (queued["id"], queued["error"]["code"]) == ("queued", "cancelled")
        assert gate.inside == ["stream", "in order"]
        assert gate.cancelled == ["stream", "in order"]
        assert (await wire.ask("session.ping"))["type"] == "reply"


async def test_a_handler_past_its_timeout_is_cancelled(config: Config) -> None:
    plugin = Plugin("slow")
    gate = Gate()

    @plugin.handler("slow.short", timeout="10ms")
    async def short(ctx: Context, data: dict[str, Any]) -> None:
        await gate.hold("short")

    @plugin.handler("slow.longer", timeout=0.2)
    async def longer(ctx: Context, data: dict[str, Any]) -> None:
        await gate.hold("longer")

    @plugin.handler("slow.stubborn", timeout="10ms")
    async def stubborn(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        try:
            await gate.hold("stubborn")
        except asyncio.CancelledError:
            return {"finished": "all the same"}
        raise AssertionError

    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        for name in ("short", "longer", "stubborn"):
            answer = await wire.ask(f"slow.{name}")
            assert (answer["error"]["code"], answer["error"]["retryable"]) == ("timeout", True)
        assert gate.cancelled == ["short", "longer", "stubborn"]
        assert (await wire.ask("session.ping"))["type"] == "reply"


async def test_an_id_in_flight_conflicts_and_may_be_used_again_after(config: Config) -> None:
    gate = Gate()
    plugin = gated(gate, concurrent=True)
    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        await wire.send({"type": "gate.pass", "id": 1})
        assert (await wire.ask("session.ping", message_id=1))["error"]["code"] == "conflict"
        gate.opened.set()
        assert (await wire.receive())["type"] == "reply"
        assert (await wire.ask("session.ping", message_id=1))["type"] == "reply"


async def test_requests_in_flight_are_limited_and_can_still_be_cancelled(config: Config) -> None:
    gate = Gate()
    plugin = gated(gate, concurrent=True)
    limited = {**config, "limits": {"in_flight": 2}}
    async with run_server(plugin, config=limited) as server, Wire(server, welcomed=True) as wire:
        await wire.send({"type": "gate.pass", "id": 1})
        await wire.send({"type": "gate.pass", "id": 2})
        refused = (await wire.ask("gate.pass", message_id=3))["error"]
        assert (refused["code"], refused["retryable"]) == ("rate_limited", True)
        assert refused["retry_after"] > 0
        await wire.send({"type": "request.cancel", "payload": {"id": 1}})
        assert (await wire.receive())["error"]["code"] == "cancelled"


async def test_reading_goes_on_as_soon_as_a_full_queue_has_room(config: Config) -> None:
    plugin = Plugin("gates")
    gates = [asyncio.Event() for _ in range(3)]

    @plugin.handler("gates.pass", Number)
    async def enter(ctx: Context, data: dict[str, Any]) -> None:
        await gates[data["n"]].wait()

    limited = {**config, "limits": {"in_flight": 4}}  # so two wait in the queue
    async with run_server(plugin, config=limited) as server, Wire(server, welcomed=True) as wire:
        for number in range(3):
            await wire.send({"type": "gates.pass", "id": number, "payload": {"n": number}})
        connection = _connection(server)
        await wait_until(lambda: len(connection.requests) == 3)
        gates[0].set()
        assert (await wire.receive())["id"] == 0
        await asyncio.wait_for(await wire.socket.ping(), 10)
        gates[1].set()
        gates[2].set()
        assert [(await wire.receive())["id"] for _ in range(2)] == [1, 2]


async def test_pipelining_past_the_limit_waits_instead_of_failing(config: Config) -> None:
    gate = Gate()
    plugin = gated(gate)
    limited = {**config, "limits": {"in_flight": 4}}
    async with run_server(plugin, config=limited) as server, Wire(server, welcomed=True) as wire:
        for number in range(40):
            await wire.send({"type": "gate.pass", "id": number})
        await wait_until(lambda: len(_connection(server).requests) == 3)
        gate.opened.set()
        answers = [await wire.receive() for _ in range(40)]
        assert [(answer["type"], answer["id"]) for answer in answers] == [
            ("reply", number) for number in range(40)
        ]


async def test_a_client_whose_pongs_wait_behind_its_requests_is_not_taken_for_dead(
    config: Config,
) -> None:
    gate = Gate()
    plugin = gated(gate)
    quick = {
        **config,
        "limits": {"in_flight": 4},
        "connections": {"heartbeat": "100ms", "ttl": "1s"},
    }
    async with run_server(plugin, config=quick) as server, Wire(server, welcomed=True) as wire:
        for number in range(10):
            await wire.send({"type": "gate.pass", "id": number})
        connection = _connection(server)
        await wait_until(lambda: not connection.reader.is_reading)
        connection.alive = True
        for _ in range(2):  # two heartbeats in which nothing is read
            await wait_until(lambda: not connection.alive)
            connection.alive = True
        await wait_until(lambda: not connection.alive)
        assert connection.closing is None
        gate.opened.set()
        assert [(await wire.receive())["id"] for _ in range(10)] == list(range(10))


async def test_nothing_of_an_exception_reaches_the_client(config: Config) -> None:
    plugin = Plugin("faulty")

    @plugin.handler("faulty.raise")
    async def fail(ctx: Context, data: dict[str, Any]) -> None:
        raise RuntimeError("the password is hunter2")

    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        with capture_logs() as logs:
            await wire.send({"type": "faulty.raise", "id": 1})
            text = await wire.receive_text()
        assert "hunter2" not in text
        assert "RuntimeError" not in text
        error = wire.decode(text)["error"]
        assert error["code"] == "internal"
        (logged,) = (line for line in logs if line.get("incident") == error["incident"])
        assert "hunter2" in str(logged["exc_info"])
        assert (await wire.ask("session.ping"))["type"] == "reply"


@pytest.mark.parametrize(
    "value",
    [["a", "list"], "text", 3, object(), {"key": object()}, {"key": "\ud800"}, {("a", "b"): 1}],
    ids=["list", "text", "number", "object", "object within", "surrogate", "tuple as a key"],
)
async def test_an_answer_that_cannot_be_sent_is_a_fault_of_the_plugin(
    config: Config, value: Any
) -> None:
    plugin = Plugin("faulty")

    @plugin.handler("faulty.answer")
    async def answer(ctx: Context, data: dict[str, Any]) -> Any:
        return value

    async with run_server(plugin, config=config) as server, server.connect() as client:
        with capture_logs(), pytest.raises(RequestError) as caught:
            await client.request("faulty.answer")
        assert caught.value.code == "internal"


@pytest.mark.parametrize("value", ["text", 3, ["a", "list"]], ids=repr)
async def test_a_chunk_that_is_no_object_is_a_fault_of_the_plugin(
    config: Config, value: Any
) -> None:
    plugin = Plugin("faulty")

    @plugin.handler("faulty.stream")
    async def stream(ctx: Context, data: dict[str, Any]) -> AsyncIterator[Any]:
        yield value

    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        with capture_logs():
            assert (await wire.ask("faulty.stream"))["error"]["code"] == "internal"


async def test_an_error_that_cannot_be_sent_is_a_fault_of_the_plugin(config: Config) -> None:
    plugin = Plugin("faulty")

    @plugin.handler("faulty.refuse")
    async def refuse(ctx: Context, data: dict[str, Any]) -> None:
        raise Error("faulty.unsendable", "It has something that is not JSON.", it=object())

    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        with capture_logs():
            assert (await wire.ask("faulty.refuse"))["error"]["code"] == "internal"
        assert (await wire.ask("session.ping"))["type"] == "reply"


async def test_an_answer_past_its_limit_is_too_large(config: Config) -> None:
    plugin = Plugin("large")

    @plugin.handler("large.answer", Number)
    async def answer(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        return {"text": "x" * data["n"]}

    @plugin.handler("large.chunk", Number)
    async def chunk(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        yield {"text": "x" * data["n"]}

    limited = {**config, "limits": {"reply_bytes": 2000, "event_bytes": 1024}}
    async with run_server(plugin, config=limited) as server, Wire(server, welcomed=True) as wire:
        for message_type in ("large.answer", "large.chunk"):
            refused = await wire.ask(message_type, {"n": 2000})
            assert refused["error"]["code"] == "too_large"
        assert (await wire.ask("large.answer", {"n": 1000}))["type"] == "reply"


async def test_a_plugins_own_error_goes_out_as_it_is(config: Config) -> None:
    plugin = Plugin("shop")

    @plugin.handler("shop.buy")
    async def buy(ctx: Context, data: dict[str, Any]) -> None:
        raise Error("shop.sold_out", "It is sold out.", retryable=True, left=0)

    async with run_server(plugin, config=config) as server, Wire(server, welcomed=True) as wire:
        assert (await wire.ask("shop.buy"))["error"] == {
            "code": "shop.sold_out",
            "message": "It is sold out.",
            "retryable": True,
            "left": 0,
        }


async def test_a_scope_that_is_lacking_is_named(config: Config) -> None:
    plugin = Plugin("admin")

    @plugin.handler("admin.act", scopes=["admin", "write"])
    async def act(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        return {"user": ctx.user, "admin": ctx.has_scope("admin")}

    class ByHeader:
        async def authenticate(self, credentials: Credentials) -> Identity:
            scopes = credentials.request.headers.get("X-Scopes", "").split()
            return Identity("ada", frozenset(scopes))

    async with run_server(plugin, config=config, authenticators=[ByHeader()]) as server:
        async with server.connect(headers={"X-Scopes": "write"}) as client:
            with pytest.raises(RequestError) as caught:
                await client.request("admin.act")
            assert caught.value.code == "forbidden"
            assert caught.value.extra["scopes"] == ["admin", "write"]
            types = (await client.request("session.describe"))["types"]
            assert "admin.act" not in {each["type"] for each in types}
            with pytest.raises(RequestError, match="not_found"):
                await client.request("session.describe", {"type": "admin.act"})
        async with server.connect(headers={"X-Scopes": "write admin"}) as client:
            assert client.welcome["user"] == "ada"
            assert await client.request("admin.act") == {"user": "ada", "admin": True}


async def test_an_answer_is_dumped_by_its_schema_where_the_handler_says_so(
    config: Config,
) -> None:
    plugin = Plugin("clock")

    class Moment(Schema):
        at = fields.DateTime(data_key="At", format="%H:%M")

    @plugin.handler("clock.now", reply=Moment, dump=True)
    async def now(ctx: Context, data: dict[str, Any]) -> Any:
        return SimpleNamespace(at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC), secret="kept")

    @plugin.handler("clock.strike", reply=Moment, dump=True)
    async def strike(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        yield {"at": datetime(2026, 1, 2, 12, 0, tzinfo=UTC)}

    @plugin.handler("clock.nothing", reply=Moment, dump=True)
    async def nothing(ctx: Context, data: dict[str, Any]) -> None: ...

    async with run_server(plugin, config=config) as server, server.connect() as client:
        assert await client.request("clock.now") == {"At": "03:04"}
        assert [chunk async for chunk in client.stream("clock.strike")] == [{"At": "12:00"}]
        assert await client.request("clock.nothing") == {}


async def test_replies_are_held_against_their_schema_in_debug(config: Config) -> None:
    plugin = Plugin("honest")

    @plugin.handler("honest.answer", AnyPayload, reply=Number)
    async def answer(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        return data

    @plugin.handler("honest.stream", AnyPayload, reply=Number)
    async def stream(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        yield data

    debug = {**config, "server": {"debug": True}}
    async with run_server(plugin, config=debug) as server, Wire(server, welcomed=True) as wire:
        assert (await wire.ask("honest.answer", {"n": 1}))["payload"] == {"n": 1}
        with capture_logs() as logs:
            for message_type in ("honest.answer", "honest.stream"):
                error = (await wire.ask(message_type, {"m": 1}))["error"]
                assert error["code"] == "internal"
        assert "Unknown field" in str(logs[0]["exc_info"])


async def test_a_client_that_leaves_has_its_handlers_cancelled(config: Config) -> None:
    plugin = Plugin("gate")
    gate = Gate()

    @plugin.handler("gate.pass")
    async def enter(ctx: Context, data: dict[str, Any]) -> None:
        await gate.hold("in order")

    @plugin.handler("gate.beside", concurrent=True)
    async def beside(ctx: Context, data: dict[str, Any]) -> None:
        await gate.hold("beside")

    async with run_server(plugin, config=config) as server:
        async with Wire(server, welcomed=True) as wire:
            await wire.send({"type": "gate.beside", "id": 1})
            await wire.send({"type": "gate.pass", "id": 2})
            await wait_until(lambda: len(gate.inside) == 2)
        await wait_until(lambda: len(server.node.hub) == 0)
        assert sorted(gate.cancelled) == ["beside", "in order"]


def _connection(server: Any) -> Any:
    (connection,) = server.node.hub
    return connection


async def test_any_payload_comes_back_with_its_keys_in_their_order(config: Config) -> None:
    keys = [f"key{number}" for number in range(20)]
    async with run_server(config=config) as server, Wire(server, welcomed=True) as wire:
        answer = await wire.ask("session.ping", dict.fromkeys(keys))
        assert list(answer["payload"]) == keys
