"""Each message has one answer; what is refused is refused before its handler, and is counted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, validates_schema

from jackfield import AnyPayload, Context, Error, Plugin
from jackfield.connection.request import Request
from jackfield.dispatch.route import Route
from jackfield.wire.identity import Identity
from jackfield.wire.protocol import JSON, MSGPACK, Codec, NotUtf8Error
from tests.support.connected import Connected, error_of
from tests.support.routing import Routing, message, turns

Answers = Callable[[], list[Any]]


class Named(Schema):
    name = fields.String(required=True)


class Crashing(Schema):
    @validates_schema
    def crash(self, _: Any, **__: Any) -> None:
        raise RuntimeError("a secret")


class Exiting(Schema):
    @validates_schema
    def leave(self, _: Any, **__: Any) -> None:
        raise SystemExit("a secret")


class Refusing(Schema):
    @validates_schema
    def refuse(self, _: Any, **__: Any) -> None:
        raise ValidationError("Not like this.")


class Ending:
    """Handlers of every kind, and what they are to do."""

    def __init__(self) -> None:
        self.result: Any = {}
        self.raises: BaseException | None = None
        self.called: list[Any] = []
        self.contexts: list[Context] = []
        self.goes_on = asyncio.Event()

    def plugins(self) -> list[Plugin]:
        test, request = Plugin("test"), Plugin("request")

        async def answer(ctx: Context, data: Any) -> Any:
            self.called.append(data)
            self.contexts.append(ctx)
            if self.raises is not None:
                raise self.raises
            return self.result

        async def wait(ctx: Context, data: Any) -> Any:
            self.called.append(data)
            await self.goes_on.wait()
            return self.result

        async def stream(ctx: Context, data: Any) -> AsyncIterator[Any]:
            yield {}

        test.handler("test.named", Named)(answer)
        test.handler("test.any", AnyPayload, timeout=3600)(answer)
        test.handler("test.brief", timeout=0.09)(wait)
        test.handler("test.wait", timeout=3600)(wait)
        test.handler("test.beside", concurrent=True)(wait)
        test.handler("test.secret", scopes=["a", "b"])(answer)
        test.handler("test.limited", rate="2/h")(answer)
        test.handler("test.both", scopes=["a"], rate="1/h")(answer)
        test.handler("test.crashing", Crashing)(answer)
        test.handler("test.exiting", Exiting)(answer)
        test.handler("test.refusing", Refusing)(answer)
        test.handler("test.stream")(stream)
        request.handler("request.cancel")(answer)
        return [test, request]


class World(Routing):
    """A dispatcher with a connection, and what its handlers do."""

    def __init__(self, **limits: Any) -> None:
        self.ending = Ending()
        super().__init__(*self.ending.plugins(), limits=limits)
        self.client = Connected(identity=Identity("alice", frozenset({"a", "c"})))
        self.connection = self.client.connection

    def refusal(self, data: bytes) -> Any:
        """The error of a message that is refused before its handler."""
        assert self.dispatcher.accept(self.connection, data) is None
        return error_of(self.only())

    def only(self) -> Any:
        (sent,) = self.client.sent()
        return sent

    async def answer(self, data: bytes) -> Any:
        await self.run(self.connection, data)
        return self.only()

    def failures(self, message_type: str) -> dict[str, int]:
        return dict(self.routes[message_type].failures)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(in_flight=2)
    yield made
    made.client.close()
    made.close()


async def test_a_reply_has_the_messages_id_and_is_counted(world: World) -> None:
    world.ending.result = {"n": 1}
    answer = await world.answer(message("test.named", "q", name="x"))
    assert answer == {"type": "reply", "id": "q", "payload": {"n": 1}}
    assert world.ending.called == [{"name": "x"}]
    assert (world.routes["test.named"].replies, world.failures("test.named")) == (1, {})
    assert world.connection.requests == {}
    assert dict(world.dispatcher.failures) == {}


async def test_a_handler_that_returns_nothing_replies_with_an_empty_object(world: World) -> None:
    world.ending.result = None
    assert (await world.answer(message("test.any")))["payload"] == {}


async def test_a_message_without_an_id_has_no_reply_and_is_counted(world: World) -> None:
    await world.run(world.connection, message("test.any", None))
    assert world.client.sent() == []
    await world.run(world.connection, message("test.any", None))
    assert world.routes["test.any"].replies == 2
    assert world.connection.requests == {}


async def test_its_context_is_the_plugins_and_the_requests(world: World) -> None:
    await world.answer(message("test.any", "q"))
    (ctx,) = world.ending.contexts
    assert (ctx.type, ctx.id, ctx.user, ctx.connection) == ("test.any", "q", "alice", "c1")


async def test_replies_are_in_the_connections_encoding(world: World) -> None:
    client = Connected(codec=MSGPACK)
    world.ending.result = {"n": 1}
    await world.run(client.connection, b"\x83\xa4type\xa8test.any\xa2id\x07\xa7payload\x80")
    assert client.sent() == [{"type": "reply", "id": 7, "payload": {"n": 1}}]


@pytest.mark.parametrize(
    ("data", "code", "message_id"),
    [
        (b"{", "invalid_json", None),
        (b"[]", "invalid_message", None),
        (b'{"type":"test.any","id":[],"payload":{}}', "invalid_message", None),
        (b'{"type":7,"id":3,"payload":{}}', "invalid_message", 3),
    ],
)
async def test_what_is_no_message_is_refused_under_its_id_and_counted(
    world: World, data: bytes, code: str, message_id: int | None
) -> None:
    assert world.dispatcher.accept(world.connection, data) is None
    answer = world.only()
    assert (answer["error"]["code"], answer["id"]) == (code, message_id)
    assert dict(world.dispatcher.failures) == {code: 1}
    world.dispatcher.accept(world.connection, data)
    assert dict(world.dispatcher.failures) == {code: 2}


async def test_text_that_is_not_utf8_is_the_receivers_to_refuse(world: World) -> None:
    data = b'{"type":"test.any","payload":{"a":"\xff"}}'
    with pytest.raises(NotUtf8Error):
        world.dispatcher.accept(world.connection, data)
    with pytest.raises(NotUtf8Error):
        world.dispatcher.refuse(world.connection, data, 1.0)
    assert world.client.sent() == []


def nested(codec: Codec, depth: int) -> bytes:
    """A message as short as can be whose payload has so many levels."""
    if codec is JSON:
        inner = b"[" * (depth - 1) + b"]" * (depth - 1)
        return b'{"type":"test.any","id":1,"payload":{"a":' + inner + b"}}"
    head = b"\x83\xa4type\xa8test.any\xa2id\x01\xa7payload\x81\xa1a"
    return head + b"\x91" * (depth - 2) + b"\x90"


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
@pytest.mark.parametrize("limit", [8, 60, 400])
async def test_a_message_that_is_too_deep_is_refused(limit: int, codec: Codec) -> None:
    world, client = World(nesting=limit), Connected(codec=codec)
    world.accept(client.connection, nested(codec, limit)).finish()
    assert world.dispatcher.accept(client.connection, nested(codec, limit + 1)) is None
    (answer,) = client.sent()
    assert (answer["id"], error_of(answer)["message"]) == (1, "The message is nested too deeply.")
    assert dict(world.dispatcher.failures) == {"invalid_json": 1}
    world.close()


async def test_an_unknown_type_is_refused_with_near_names(world: World) -> None:
    error = world.refusal(message("test.limit"))
    assert (error["code"], error["suggestions"][0]) == ("unknown_type", "test.limited")
    assert dict(world.dispatcher.failures) == {"unknown_type": 1}


async def test_no_name_is_suggested_that_the_connection_may_not_use(world: World) -> None:
    assert "test.secret" not in world.refusal(message("test.secrets"))["suggestions"]
    world.connection.identify(Identity("alice", frozenset({"a", "b"})))
    assert world.refusal(message("test.secrets"))["suggestions"][0] == "test.secret"


async def test_names_are_suggested_ten_times(world: World) -> None:
    told = [world.refusal(message("test.limit", n))["suggestions"][:1] for n in range(12)]
    assert told == [["test.limited"]] * 10 + [[]] * 2
    assert dict(world.dispatcher.failures) == {"unknown_type": 12}
    another = Connected()
    world.dispatcher.accept(another.connection, message("test.limit"))
    assert error_of(another.sent()[0])["suggestions"][0] == "test.limited"


async def test_an_unknown_type_is_refused_under_its_id_and_without_one(world: World) -> None:
    for message_id in ("q", None):
        assert world.dispatcher.accept(world.connection, message("no.such", message_id)) is None
        assert world.only()["id"] == message_id


async def test_an_id_in_flight_is_refused_and_can_be_used_again(world: World) -> None:
    request = world.accept(world.connection, message("test.any"))
    error = world.refusal(message("test.any"))
    assert (error["code"], error["message"]) == (
        "conflict",
        "A request with this id is under way.",
    )
    assert world.failures("test.any") == {"conflict": 1}
    assert world.connection.requests == {1: request}
    request.finish()
    assert world.accept(world.connection, message("test.any")) is not request


async def test_messages_without_an_id_never_conflict(world: World) -> None:
    both = [world.accept(world.connection, message("test.any", None)) for _ in range(2)]
    assert list(world.connection.requests.values()) == both


@pytest.mark.parametrize("message_id", [3, None])
async def test_requests_in_flight_are_limited(world: World, message_id: int | None) -> None:
    world.accept(world.connection, message("test.any", 1))
    world.accept(world.connection, message("test.any", 2))
    error = world.refusal(message("test.any", message_id))
    assert (error["code"], error["retry_after"], error["message"]) == (
        "rate_limited",
        1.0,
        "Too many requests are under way.",
    )
    assert len(world.connection.requests) == 2


async def test_at_the_limit_and_in_a_shutdown_a_request_can_still_be_cancelled(
    world: World,
) -> None:
    for number in (1, 2):
        world.accept(world.connection, message("test.any", number))
    world.accept(world.connection, message("request.cancel", 3))
    world.hub.draining = True
    world.accept(world.connection, message("request.cancel", 4))
    assert world.refusal(message("request.cancel", 4))["code"] == "conflict"


async def test_nothing_new_begins_in_a_shutdown(world: World) -> None:
    world.hub.draining = True
    error = world.refusal(message("test.any"))
    assert error == {
        "code": "unavailable",
        "message": "The server is shutting down.",
        "retryable": True,
        "retry_after": 1.0,
    }


async def test_a_stream_needs_an_id(world: World) -> None:
    assert world.dispatcher.accept(world.connection, message("test.stream", None)) is None
    answer = world.only()
    assert answer["id"] is None
    assert answer["error"]["code"] == "invalid_message"
    assert answer["error"]["fields"] == [
        {"pointer": "/id", "code": "required", "message": "A streamed answer needs an id."}
    ]
    world.accept(world.connection, message("test.stream"))


async def test_a_scope_that_is_lacking_is_refused_with_all_that_are_needed(world: World) -> None:
    error = world.refusal(message("test.secret"))
    assert (error["code"], error["scopes"]) == ("forbidden", ["a", "b"])
    assert world.failures("test.secret") == {"forbidden": 1}
    world.connection.identify(Identity("alice", frozenset({"a", "b", "c"})))
    world.accept(world.connection, message("test.secret"))


async def test_a_type_has_a_rate_of_its_own(world: World) -> None:
    for _ in range(2):
        world.accept(world.connection, message("test.limited", None)).finish()
    assert world.failures("test.limited") == {}
    error = world.refusal(message("test.limited"))
    assert error["code"] == "rate_limited"
    assert 1799 < error["retry_after"] <= 1800
    world.refusal(message("test.limited"))
    assert world.failures("test.limited") == {"rate_limited": 2}
    world.accept(world.connection, message("test.any"))


async def test_what_is_forbidden_takes_nothing_of_the_rate(world: World) -> None:
    world.connection.identify(Identity("bob"))
    for _ in range(3):
        assert world.refusal(message("test.both"))["code"] == "forbidden"
    world.connection.identify(Identity("bob", frozenset({"a"})))
    world.accept(world.connection, message("test.both")).finish()
    assert world.refusal(message("test.both"))["code"] == "rate_limited"


async def test_a_payload_that_is_not_valid_is_refused(world: World) -> None:
    error = world.refusal(message("test.named"))
    assert error["code"] == "invalid_payload"
    assert [fault["pointer"] for fault in error["fields"]] == ["/name"]
    assert world.failures("test.named") == {"invalid_payload": 1}
    assert world.refusal(message("test.refusing"))["code"] == "invalid_payload"
    assert world.connection.requests == {}
    assert world.ending.called == []


@pytest.mark.parametrize("message_type", ["test.crashing", "test.exiting"])
async def test_a_schema_that_fails_is_an_incident(
    world: World, logged: Callable[[], str], message_type: str
) -> None:
    error = world.refusal(message(message_type))
    assert error["code"] == "internal"
    assert "secret" not in str(error)
    assert error["incident"] in logged()
    assert world.failures(message_type) == {"internal": 1}


async def test_past_the_connections_rate_a_message_is_refused_unread(world: World) -> None:
    world.dispatcher.refuse(world.connection, message("test.any", "q"), 0.0101)
    world.dispatcher.refuse(world.connection, message("no.such", None), 2.5)
    world.dispatcher.refuse(world.connection, b'{"id":7}', 1.0)
    world.dispatcher.refuse(world.connection, b"{", 1.0)
    answers = world.client.sent()
    assert [(each["id"], error_of(each)["retry_after"]) for each in answers] == [
        ("q", 0.011),
        (None, 2.5),
        (7, 1.0),
        (None, 1.0),
    ]
    assert {(error_of(each)["code"], error_of(each)["message"]) for each in answers} == {
        ("rate_limited", "Too many messages.")
    }
    assert dict(world.dispatcher.failures) == {"rate_limited": 4}
    assert world.failures("test.any") == {}


async def test_an_error_of_the_handler_is_its_answer(world: World) -> None:
    world.ending.raises = Error("test.full", "It is full.", room="x")
    answer = await world.answer(message("test.any", "q"))
    assert answer == {"type": "error", "id": "q", "error": world.ending.raises.as_dict()}
    assert world.failures("test.any") == {"test.full": 1}
    assert world.routes["test.any"].replies == 0
    assert world.connection.requests == {}


@pytest.mark.parametrize("raised", [KeyError("a secret"), SystemExit("a secret")])
async def test_a_fault_of_the_handler_is_logged_and_not_told(
    world: World, logged: Callable[[], str], raised: BaseException
) -> None:
    world.ending.raises = raised
    error = error_of(await world.answer(message("test.any")))
    assert set(error) == {"code", "message", "retryable", "incident"}
    assert error["code"] == "internal"
    for told in (error["incident"], '"plugin": "test"', '"type": "test.any"', "a secret"):
        assert told in logged()
    assert '"connection": "c1"' in logged()


async def test_a_fault_without_an_id_is_told_as_well(world: World) -> None:
    world.ending.raises = Error("conflict")
    assert (await world.answer(message("test.any", None)))["id"] is None


@pytest.mark.parametrize("result", [{"key": object()}, ["no object"], "text", 7])
async def test_a_reply_that_can_not_be_sent_is_an_incident(world: World, result: Any) -> None:
    world.ending.result = result
    answer = await world.answer(message("test.any", "q"))
    assert (answer["id"], error_of(answer)["code"]) == ("q", "internal")
    assert world.failures("test.any") == {"internal": 1}
    assert world.routes["test.any"].replies == 0


async def test_a_reply_of_just_the_limit_is_sent_and_a_larger_one_is_not() -> None:
    world = World(reply_bytes=2000, event_bytes=1024)
    empty = len(world.connection.codec.reply(1, {"text": ""}))
    world.ending.result = {"text": "x" * (2000 - empty)}
    assert (await world.answer(message("test.any")))["type"] == "reply"
    world.ending.result = {"text": "x" * (2001 - empty)}
    assert error_of(await world.answer(message("test.any")))["code"] == "too_large"
    assert world.failures("test.any") == {"too_large": 1}
    assert world.routes["test.any"].replies == 1
    world.close()


class Waiting:
    """Keeps what had been sent when it went on."""

    def __init__(self, client: Connected) -> None:
        self.client = client
        self.went_on: list[Any] = []

    def activate(self) -> None:
        self.went_on.append([each["type"] for each in self.client.sent()])

    def abandon(self) -> None:
        self.went_on.append("abandoned")


async def test_what_waits_for_the_reply_goes_on_behind_it(world: World) -> None:
    waiting = Waiting(world.client)
    request = world.accept(world.connection, message("test.any"))
    request.call_after_reply(waiting)
    task = asyncio.current_task()
    assert task is not None
    await world.dispatcher.run(request, task)
    assert waiting.went_on == [["reply"]]


async def test_what_waits_for_a_reply_is_abandoned_where_there_is_an_error(world: World) -> None:
    for raised, result in ((Error("conflict"), {}), (None, 7)):
        world.ending.raises, world.ending.result = raised, result
        waiting = Waiting(world.client)
        request = world.accept(world.connection, message("test.any"))
        request.call_after_reply(waiting)
        task = asyncio.current_task()
        assert task is not None
        await world.dispatcher.run(request, task)
        assert waiting.went_on == ["abandoned"]
        assert world.only()["type"] == "error"


def started(world: World, data: bytes) -> tuple[Request[Route], "asyncio.Task[None]"]:
    request = world.accept(world.connection, data)
    world.dispatcher.start(request)
    assert request.own_task is not None
    return request, request.own_task


async def test_a_request_that_is_started_begins_in_the_next_turn_and_is_held(world: World) -> None:
    request, task = started(world, message("test.beside"))
    assert world.ending.called == []
    await turns(1)
    assert world.ending.called == [{}]
    assert world.connection.requests == {1: request}
    world.ending.goes_on.set()
    await task
    assert world.only()["type"] == "reply"
    assert world.connection.requests == {}


async def test_one_that_is_stopped_is_answered_with_the_reason(world: World) -> None:
    request, task = started(world, message("test.wait", "q"))
    await turns(1)
    assert request.stop(Error("timeout"))
    await task
    answer = world.only()
    assert (answer["id"], error_of(answer)["code"]) == ("q", "timeout")
    assert world.failures("test.wait") == {"timeout": 1}
    assert not task.cancelled()


async def test_one_that_is_stopped_before_it_begins_is_not_called(world: World) -> None:
    request, task = started(world, message("test.beside", 1))
    request.stop(Error("cancelled"))
    await task
    in_order = world.accept(world.connection, message("test.any", 2))
    in_order.stop(Error("cancelled"))
    current = asyncio.current_task()
    assert current is not None
    await world.dispatcher.run(in_order, current)
    assert current.cancelling() == 0
    assert world.ending.called == []
    assert world.connection.requests == {}
    answers = [(each["id"], error_of(each)["code"]) for each in world.client.sent()]
    assert answers == [(1, "cancelled"), (2, "cancelled")]


async def test_one_that_is_cancelled_from_outside_is_not_answered(world: World) -> None:
    request, task = started(world, message("test.wait"))
    await turns(1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert world.client.sent() == []
    assert request.done


async def test_one_that_is_stopped_and_cancelled_from_outside_is_not_answered(
    world: World,
) -> None:
    request, task = started(world, message("test.wait"))
    await turns(1)
    request.stop(Error("timeout"))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert world.client.sent() == []


async def test_a_handler_that_awaits_what_is_cancelled_has_failed(world: World) -> None:
    world.ending.raises = asyncio.CancelledError()
    error = error_of(await world.answer(message("test.any")))
    assert error["code"] == "internal"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


def stubborn(does: Callable[[], Any]) -> Plugin:
    """A handler that answers its cancellation with something else."""
    made = Plugin("stubborn")

    @made.handler("stubborn.wait")
    async def wait(ctx: Context, data: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return does()

    return made


def fail() -> None:
    raise ValueError("in the clean-up")


@pytest.mark.parametrize("does", [dict, fail])
async def test_one_that_is_stopped_gets_the_reason_whatever_the_handler_does(
    does: Callable[[], Any],
) -> None:
    routing, client = Routing(stubborn(does)), Connected()
    request = routing.accept(client.connection, message("stubborn.wait"))
    routing.dispatcher.start(request)
    await turns(1)
    request.stop(Error("timeout"))
    assert request.task is not None
    await request.task
    (answer,) = client.sent()
    assert error_of(answer)["code"] == "timeout"
    assert request.task.cancelling() == 0
    assert routing.routes["stubborn.wait"].replies == 0
    routing.close()


async def test_a_short_timeout_has_its_timer_at_once_and_a_long_one_once_it_is_slow(
    world: World,
) -> None:
    brief, first = started(world, message("test.brief", 1))
    slow, second = started(world, message("test.wait", 2))
    await turns(1)
    assert [request.timer is None for request in (brief, slow)] == [False, True]
    world.slow_requests._check()
    timer = slow.timer
    assert timer is not None
    assert world.client.idle_reader.slow == [brief, slow]
    world.ending.goes_on.set()
    await asyncio.gather(first, second)
    assert timer.cancelled()


@pytest.mark.parametrize(("in_flight", "at_once"), [(3, 3), (16, 16), (17, 16), (500, 16)])
async def test_so_many_begin_together_as_may_be_in_flight_or_sixteen(
    in_flight: int, at_once: int
) -> None:
    world = World(in_flight=in_flight)
    assert world.dispatcher.max_starting == at_once
    world.close()
