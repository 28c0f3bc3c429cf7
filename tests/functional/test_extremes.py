"""No number that JSON or MessagePack can hold is a fault of ours, wherever it stands."""

import contextlib
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields

from jackfield.http import api
from jackfield.testing import RunningServer
from tests.functional.test_server_api import post, with_keys
from tests.support.agents import COUNT, Bot, Caller, agent_nodes
from tests.support.builtin import built_in
from tests.support.topics import Member
from tests.support.worst_payloads import sample_of

Config = Mapping[str, Any]

EXTREMES: list[int | float] = [
    *(0, -0.0, -1, 0.1, 1.5, 1e-7, 5e-324, -5e-324, 2.2250738585072014e-308),
    *(2**31, 2**32, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *(1e9, 1e12, 1e15, 1e16, 1e308, -1e308, 1.7e308, -1.7e308, 1.7976931348623157e308),
    *(1e-320, True, False),  # what is subnormal, and what Python takes for a number
]
#: What only JSON can hold: MessagePack has integers of 64 bits.
LONG: list[int] = [2**64, -(2**63) - 1, 10**30, 10**308, 10**400, -(10**4000)]
#: What only MessagePack can hold.
SPECIAL: list[float] = [math.inf, -math.inf, math.nan]
#: Any number that a schema lets through: a count that is exact, or seconds that can be waited.
LARGEST = 2**53
LARGEST_FLOAT = 1.7976931348623157e308

HANDLERS = {handler.type: handler for handler in built_in()}
BODIES: dict[str, Schema] = {
    "tickets": api.Ticket(),
    "revoke": api.Revoke(),
    "disconnect": api.Disconnect(),
}


def numeric(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where there are numbers in what a schema loads, by keys."""
    for name, field in schema.load_fields.items():
        inner = field.inner if isinstance(field, fields.List) else field
        if isinstance(inner, fields.Number) or "integer" in field.metadata.get("type", ()):
            yield (*path, name)
        elif isinstance(inner, fields.Nested):
            yield from numeric(inner.schema, (*path, name))


def with_value(payload: Any, path: tuple[str, ...], value: Any) -> Any:
    """A payload with another value at a place."""
    if not path:
        return value
    inner = payload[path[0]]
    first = inner[0] if isinstance(inner, list) else inner
    changed = with_value(first, path[1:], value)
    return payload | {path[0]: [changed] if isinstance(inner, list) else changed}


PLACES = [(each.type, path) for each in HANDLERS.values() for path in numeric(each.schema)]
PLACES += [(name, path) for name, schema in BODIES.items() for path in numeric(schema)]


def test_there_are_numbers_to_try() -> None:
    assert ("agent.update", ("prompt", "expires")) in PLACES
    assert ("tickets", ("expires_in",)) in PLACES
    assert ("request.cancel", ("id",)) in PLACES
    assert len(PLACES) >= 12


@pytest.mark.parametrize(("name", "path"), PLACES)
def test_a_number_is_bounded_where_it_is_read(name: str, path: tuple[str, ...]) -> None:
    schema = HANDLERS[name].schema if name in HANDLERS else BODIES[name]
    field: Any = None
    for key in path:
        field = schema.load_fields[key]
        schema = getattr(getattr(field, "inner", field), "schema", schema)
    for value in (*EXTREMES, *LONG, *SPECIAL):
        with contextlib.suppress(ValidationError):
            assert abs(field.deserialize(value)) < LARGEST, value


ENCODINGS = ["jackfield.v1", "jackfield.v1.msgpack"]
#: What an agent reports of a task that it must have.
OF_TASK = ("agent.update", "agent.complete", "agent.fail")


def sendable(encoding: str) -> list[int | float]:
    return [*EXTREMES, *(SPECIAL if encoding.endswith("msgpack") else LONG)]


@pytest.fixture
async def server(config: Config, tmp_path: Path) -> AsyncIterator[RunningServer]:
    limits = {"requests_per_second": 100_000, "publishes_per_second": 100_000}
    open_to_all = {**with_keys(config, tmp_path), "limits": limits, "auth": {}}
    async with agent_nodes(open_to_all) as servers:
        yield servers[0]


def assert_no_fault(answer: Any, what: Any) -> None:
    assert answer["type"] in {"reply", "chunk", "error"}
    if answer["type"] == "error":
        assert answer["error"]["code"] != "internal", (what, answer)


async def begin(caller: Caller, bot: Bot) -> dict[str, Any]:
    """Begin a task; the ids by which its agent reports."""
    answer = await caller.reply("agent.call", agent="echo", skill="say", detach=True)
    return await assigned(bot, answer["task"])


async def assigned(bot: Bot, task: str) -> dict[str, Any]:
    """Wait until an agent is told of a task; the ids by which it reports."""
    while True:
        message = await bot.next()
        if message["type"] == "agent.assigned" and message["payload"]["task"] == task:
            return {key: message["payload"][key] for key in ("task", "attempt")}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("name", "path"), [place for place in PLACES if place[0] in HANDLERS])
async def test_no_number_in_a_message_is_a_fault_of_ours(
    server: RunningServer, encoding: str, name: str, path: tuple[str, ...]
) -> None:
    sample = sample_of(HANDLERS[name].schema)
    if name == "agent.update":
        sample |= {"state": "input_required", "chunks": [{"n": 1}], "seq": 0}
    async with (
        Caller(server, "ada") as ada,
        Bot(server, subprotocol=encoding) as bot,
    ):
        if name != "agent.register":
            await bot.register(capacity=1000)
        sample |= {"name": "other"} if name == "agent.register" else {}
        sample |= {"agent": "echo", "skill": "say"} if name == "agent.call" else {}
        for value in sendable(encoding):
            task = await begin(ada, bot) if name in OF_TASK else {}
            payload = with_value(sample | task, path, value)
            assert_no_fault(await bot.request(name, **payload), value)
            if name in OF_TASK:
                await ada.request("agent.cancel", task=task["task"])


@pytest.mark.parametrize("name", BODIES)
async def test_no_number_in_a_body_of_the_api_is_a_fault_of_ours(
    config: Config, tmp_path: Path, name: str
) -> None:
    sample = {"user": "alice"}
    async with agent_nodes(with_keys(config, tmp_path)) as (server,):
        for path, value in product(numeric(BODIES[name]), (*EXTREMES, *LONG)):
            status, _ = await post(server, name, with_value(sample | {path[0]: 0}, path, value))
            assert status in {200, 201, 400, 422}, value
        status, _ = await post(server, name, raw=b'{"user":"alice","expires_in":1e999}')
        assert status == 400


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_whoever_publishes_a_number_everyone_gets_it(
    server: RunningServer, encoding: str
) -> None:
    async with (
        Member(server, "ada", subprotocol=encoding) as ada,
        Member(server, "bob", subprotocol=ENCODINGS[0]) as in_json,
        Member(server, "cleo", subprotocol=ENCODINGS[1]) as in_msgpack,
    ):
        members = (in_json, in_msgpack)
        for member in members:
            await member.subscribe("feed:numbers")
        numbers = sendable(encoding)
        for value in numbers:
            assert (await ada.reply("session.ping", n=value)).keys() == {"n"}
            await ada.publish("feed:numbers", {"n": value})
        for member in members:
            received = [
                event["payload"]["n"] for event in await member.events("feed:numbers", len(numbers))
            ]
            for sent, got in zip(numbers, received, strict=True):
                if any(sent is each for each in SPECIAL):
                    assert got is None
                elif member is in_json or sent not in LONG:
                    assert got == sent
                else:  # as near as MessagePack comes to it
                    assert got == pytest.approx(max(-LARGEST_FLOAT, min(sent, LARGEST_FLOAT)))
            past = await member.reply("topic.history", topic="feed:numbers", limit=100)
            assert len(past["events"]) == len(numbers)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_whatever_number_an_agent_is_called_with_it_is_answered(
    server: RunningServer, encoding: str
) -> None:
    other = ENCODINGS[1 - ENCODINGS.index(encoding)]
    async with (
        Caller(server, "ada", subprotocol=encoding) as ada,
        Bot(server, subprotocol=other) as bot,
    ):
        await bot.register("echo", COUNT, {"id": "say"}, capacity=1000)
        for value in sendable(encoding):
            refused = await ada.request(
                "agent.call", agent="echo", skill="count", input={"to": value}, detach=True
            )
            assert_no_fault(refused, value)
            answer = await ada.request(
                "agent.call", agent="echo", skill="say", input={"to": value}, detach=True
            )
            assert answer["type"] == "reply", (value, answer)
            assert_no_fault(await ada.request("agent.task", task=answer["payload"]["task"]), value)
        for value in sendable(other):
            called = await ada.begin("echo", skill="say")
            report = await assigned(bot, called.task)
            assert_no_fault(
                await bot.request("agent.update", **report, chunks=[{"n": value}], seq=0), value
            )
            assert_no_fault(
                await bot.request("agent.complete", **report, output={"n": value}), value
            )
            await called.news("working")
            await called.chunk()
            await called.output()
