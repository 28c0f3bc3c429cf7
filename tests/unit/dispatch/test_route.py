"""A route calls every kind of handler the same way, with its middleware around it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest
from marshmallow import Schema, fields

from jackfield import Context, Error, Plugin, Reply
from jackfield.connection.request import Request
from jackfield.declaration.replies import Stated
from jackfield.dispatch.bulkhead import Bulkhead
from jackfield.dispatch.route import Route
from jackfield.dispatch.timeouts import CHECK_INTERVAL
from jackfield.schema.payload import PayloadError
from tests.support.connected import Connected
from tests.support.routing import runtime
from tests.support.waiting import wait_until

Handler = Callable[..., Any]


class Shown(Schema):
    number = fields.Integer(required=True, data_key="n")


class Checked(Schema):
    number = fields.Integer(required=True, strict=True)


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


class Making:
    """Makes the route of a function."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.connected = Connected()

    def route(
        self,
        function: Handler,
        *,
        middleware: Any = (),
        bulkhead: Bulkhead | None = None,
        check_replies: bool = False,
        **options: Any,
    ) -> Route:
        plugin = Plugin("test")
        plugin.handler("test.do", **options)(function)
        return Route(
            plugin.handlers["test.do"],
            runtime("test"),
            middleware=middleware,
            bulkhead=bulkhead,
            default_timeout=30.0,
            executor=self.executor,
            check_replies=check_replies,
        )

    async def call(self, route: Route, data: Any = None) -> Any:
        request = Request(self.connected.connection, route, 1, data)
        return await route.call(
            Context(self.connected.connection, route.runtime, request), data or {}
        )


@pytest.fixture
async def making(executor: Executor) -> Making:
    return Making(executor)


async def echo(ctx: Context, data: Any) -> Any:
    return data


async def stream(ctx: Context, data: Any) -> AsyncIterator[Any]:
    yield {"n": 1}


async def test_what_is_declared_is_what_a_message_needs(making: Making) -> None:
    route = making.route(echo)
    assert (route.type, route.scopes, route.rate) == ("test.do", frozenset(), None)
    assert (route.streams, route.concurrent, route.is_restricted) == (False, False, False)
    assert (route.timeout, route.has_short_timeout) == (30.0, False)
    assert making.route(echo, scopes=["a"]).is_restricted
    assert making.route(echo, rate="1/s").is_restricted
    assert making.route(echo, concurrent=True).concurrent


async def test_a_stream_is_concurrent_and_has_no_timeout_but_its_own(making: Making) -> None:
    route = making.route(stream)
    assert (route.streams, route.concurrent, route.timeout) == (True, True, None)
    assert not route.has_short_timeout
    assert making.route(stream, timeout=5).timeout == 5.0


@pytest.mark.parametrize(("factor", "is_short"), [(1.99, True), (2, False)])
async def test_a_timeout_that_may_pass_before_the_check_is_short(
    making: Making, factor: float, *, is_short: bool
) -> None:
    assert making.route(echo, timeout=factor * CHECK_INTERVAL).has_short_timeout is is_short


async def test_a_coroutine_is_called_as_it_is(making: Making) -> None:
    route = making.route(echo)
    assert route.call is echo
    assert await making.call(route, {"a": 1}) == {"a": 1}


async def test_a_plain_function_runs_in_a_thread_with_the_callers_context(making: Making) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("the caller's")

    def handler(ctx: Context, data: Any) -> Any:
        return {"in": threading.current_thread().name, "variable": variable.get()}

    answer = await making.call(making.route(handler))
    assert answer["variable"] == "the caller's"
    assert answer["in"] != threading.current_thread().name


async def test_a_stream_sends_its_chunks_and_ends_without_a_reply(making: Making) -> None:
    async def count(ctx: Context, data: Any) -> AsyncIterator[Any]:
        for number in range(3):
            yield {"n": number}

    assert await making.call(making.route(count)) is None
    sent = making.connected.sent()
    assert [(each["seq"], each["payload"]["n"]) for each in sent] == [(0, 0), (1, 1), (2, 2)]


async def test_a_streams_reply_ends_it(making: Making) -> None:
    closed: list[bool] = []

    async def count(ctx: Context, data: Any) -> AsyncIterator[Any]:
        try:
            yield Stated("working", {"n": 1})
            yield Reply({"n": 2})
            yield {"n": 3}
        finally:
            closed.append(True)

    assert await making.call(making.route(count)) == {"n": 2}
    (chunk,) = making.connected.sent()
    assert (chunk["state"], chunk["payload"]) == ("working", {"n": 1})
    assert closed == [True]


async def test_a_stream_whose_client_has_left_ends(making: Making) -> None:
    making.connected.connection.outbox.seal()
    yielded: list[int] = []

    async def count(ctx: Context, data: Any) -> AsyncIterator[Any]:
        for number in range(3):
            yielded.append(number)
            yield {"n": number}

    assert await making.call(making.route(count)) is None
    assert yielded == [0]


async def test_a_reply_is_dumped_where_the_handler_says_so(making: Making) -> None:
    async def show(ctx: Context, data: Any) -> Any:
        return None if data.get("none") else {"number": 7}

    assert await making.call(making.route(show, reply=Shown, dump=True)) == {"n": 7}
    assert await making.call(making.route(show, reply=Shown)) == {"number": 7}
    dumping = making.route(show, reply=Shown, dump=True)
    assert await making.call(dumping, {"none": True}) is None


async def test_each_chunk_is_dumped_and_a_streams_reply_is_not(making: Making) -> None:
    async def show(ctx: Context, data: Any) -> AsyncIterator[Any]:
        yield {"number": 1}
        yield Reply({"number": 2})

    route = making.route(show, reply=Shown, dump=True)
    assert await making.call(route) == {"number": 2}
    assert making.connected.sent()[0]["payload"] == {"n": 1}


async def test_a_reply_is_checked_where_the_server_debugs(making: Making) -> None:
    async def show(ctx: Context, data: Any) -> Any:
        return data

    assert await making.call(making.route(show, reply=Checked), {"number": "x"}) == {"number": "x"}
    checking = making.route(show, reply=Checked, check_replies=True)
    assert await making.call(checking, {"number": 1}) == {"number": 1}
    with pytest.raises(PayloadError):
        await making.call(checking, {"number": "x"})


async def test_middleware_runs_outermost_first_each_with_its_plugins_context(
    making: Making,
) -> None:
    seen: list[str] = []

    def layer(name: str) -> tuple[Any, Any]:
        async def run(ctx: Context, data: Any, call_next: Any) -> Any:
            seen.append(f"{name} in {ctx.log._context['plugin']}")
            result = await call_next(ctx, {**data, name: True})
            return {**result, f"{name} out": True}

        return run, runtime(name)

    async def handler(ctx: Context, data: Any) -> Any:
        seen.append(str(ctx.type))
        return data

    route = making.route(handler, middleware=[layer("outer"), layer("inner")])
    assert await making.call(route) == {
        "outer": True,
        "inner": True,
        "inner out": True,
        "outer out": True,
    }
    assert seen == ["outer in outer", "inner in inner", "test.do"]


async def test_a_bulkhead_counts_a_coroutine_until_it_ends_however_it_does(
    making: Making,
) -> None:
    goes_on = asyncio.Event()

    async def wait(ctx: Context, data: Any) -> Any:
        await goes_on.wait()
        raise ValueError

    bulkhead = Bulkhead(1)
    route = making.route(wait, bulkhead=bulkhead)
    first = asyncio.create_task(making.call(route))
    await asyncio.sleep(0)
    with pytest.raises(Error, match="rate_limited"):
        await making.call(route)
    goes_on.set()
    with pytest.raises(ValueError, match=r"^$"):
        await first
    with pytest.raises(ValueError, match=r"^$"):
        await making.call(route)


async def test_a_bulkhead_counts_a_stream_until_it_ends(making: Making) -> None:
    bulkhead = Bulkhead(1)
    route = making.route(stream, bulkhead=bulkhead)
    for _ in range(2):
        assert await making.call(route) is None
    bulkhead.acquire()
    with pytest.raises(Error, match="rate_limited"):
        await making.call(route)


async def test_a_bulkhead_counts_a_thread_until_it_ends_and_not_its_timeout(
    making: Making,
) -> None:
    goes_on = threading.Event()

    def wait(ctx: Context, data: Any) -> None:
        goes_on.wait(10)

    bulkhead = Bulkhead(1)
    route = making.route(wait, bulkhead=bulkhead)
    call = asyncio.create_task(making.call(route))
    await wait_until(lambda: bulkhead._free == 0)
    call.cancel()
    await asyncio.wait([call])
    await asyncio.sleep(0)
    assert bulkhead._free == 0
    goes_on.set()
    await wait_until(lambda: bulkhead._free == 1)


async def test_a_route_describes_itself_once(making: Making) -> None:
    async def documented(ctx: Context, data: Any) -> Any:
        """Do it."""

    route = making.route(documented, schema=Checked, reply=Shown, scopes=["b", "a"])
    described = route.description
    assert described is route.description
    payload, reply = described.pop("payload"), described.pop("reply")
    assert described == {
        "type": "test.do",
        "plugin": "test",
        "doc": "Do it.",
        "streams": False,
        "scopes": ["a", "b"],
    }
    assert (payload["required"], reply["required"]) == (["number"], ["n"])
