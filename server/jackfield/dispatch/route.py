"""`Route`: a message type made ready to be called, with all that can be prepared beforehand.

A `Route` is made once, when the server starts, of a `Handler`, its plugin's `Runtime` and the
middleware around it. What a message needs then is one attribute away.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import cached_property, partial
from typing import Any

from jackfield.authoring.context import Context
from jackfield.authoring.runtime import Runtime
from jackfield.connection.running import MessageOptions
from jackfield.declaration.replies import Reply, Stated
from jackfield.plugin.handler import Handler, HandlerKind
from jackfield.plugin.hooks import CallNext, Middleware
from jackfield.schema.compiled.dumping import Dump, compile_dump
from jackfield.schema.json_schema import json_schema
from jackfield.schema.payload import as_payload, check_against
from jackfield.schema.validation import bind

from .bulkhead import Bulkhead
from .timeouts import CHECK_INTERVAL


class Route(MessageOptions):
    """One message type, ready to be called.

    Args:
        handler: The plugin's declaration.
        runtime: The plugin's runtime.
        middleware: What runs around it, outermost first, each with its own plugin's runtime.
        bulkhead: What bounds how many of the plugin's handlers run at once; None for no limit.
        default_timeout: Seconds, for a handler that declares no timeout and is no stream.
        executor: The threads that plain functions run in.
        check_replies: Whether replies are checked against the declared schema.
    """

    def __init__(
        self,
        handler: Handler,
        runtime: Runtime,
        *,
        middleware: Sequence[tuple[Middleware, Runtime]],
        bulkhead: Bulkhead | None,
        default_timeout: float,
        executor: Executor,
        check_replies: bool,
    ) -> None:
        streams = handler.kind is HandlerKind.STREAM
        timeout = handler.timeout
        if timeout is None and not streams:
            timeout = default_timeout
        super().__init__(
            handler.type,
            scopes=handler.scopes,
            rate=handler.rate,
            streams=streams,
            concurrent=handler.concurrent or streams,
            timeout=timeout,
        )
        self.handler = handler
        self.runtime = runtime
        #: Whether it needs scopes or has a rate limit: most types have neither.
        self.is_restricted = bool(handler.scopes) or handler.rate is not None
        #: Whether its timeout may pass before `SlowRequests` checks: it gets its timer at once.
        self.has_short_timeout = self.timeout is not None and self.timeout < 2 * CHECK_INTERVAL
        self.load = bind(handler.schema, handler.type)
        self.call = _wrap(_innermost(handler, executor, bulkhead, check=check_replies), middleware)
        #: How many messages were handled, and how many were refused with which error code.
        self.replies = 0
        self.failures: Counter[str] = Counter()

    @cached_property
    def description(self) -> dict[str, Any]:
        """What a client is told of the type: documentation, options and JSON Schemas."""
        return {
            "type": self.type,
            "plugin": self.runtime.plugin,
            "doc": self.handler.doc,
            "streams": self.streams,
            "scopes": sorted(self.scopes),
            "payload": json_schema(self.handler.schema),
            "reply": None if self.handler.reply is None else json_schema(self.handler.reply),
        }


def _wrap(call: CallNext, middleware: Sequence[tuple[Middleware, Runtime]]) -> CallNext:
    """Wrap middleware around a call, the first outermost."""
    for layer, runtime in reversed(middleware):
        call = partial(_call_middleware, layer, runtime, call)
    return call


def _call_middleware(
    layer: Middleware, runtime: Runtime, call_next: CallNext, ctx: Context, data: Any
) -> Awaitable[Any]:
    """Call a middleware with its own plugin's context; what it wraps gets the original one."""

    def inner(_: Context, changed: Any) -> Awaitable[Any]:
        return call_next(ctx, changed)

    own = Context(ctx._connection, runtime, ctx._request)  # noqa: SLF001 - the context's other side
    return layer(own, data, inner)


def _innermost(
    handler: Handler, executor: Executor, bulkhead: Bulkhead | None, *, check: bool
) -> CallNext:
    """Return the handler as an async function, whatever its kind, with its replies dumped."""
    function, dump = handler.function, _dump_of(handler, check=check)
    if handler.kind is HandlerKind.THREAD:
        call = _threaded(function, executor, bulkhead)
    else:
        streams = handler.kind is HandlerKind.STREAM
        call = _streaming(function, dump) if streams else function
        if bulkhead is not None:
            call = _bounded(call, bulkhead)
        if streams:
            return call
    return call if dump is None else _dumping(call, dump)


def _bounded(call: CallNext, bulkhead: Bulkhead) -> CallNext:
    async def bounded(ctx: Context, data: Any) -> Any:
        bulkhead.acquire()
        try:
            return await call(ctx, data)
        finally:
            bulkhead.release()

    return bounded


def _dump_of(handler: Handler, *, check: bool) -> Dump | None:
    """Return what dumps and checks a reply before it is encoded; None if nothing needs to."""
    if handler.reply is None:
        return None
    dump = compile_dump(handler.reply) if handler.dump else None
    if not check:
        return dump
    schema = handler.reply

    def dump_and_check(answer: Any) -> Any:
        if dump is not None:
            answer = dump(answer)
        check_against(schema, answer)
        return answer

    return dump_and_check


def _threaded(
    function: Callable[..., Any], executor: Executor, bulkhead: Bulkhead | None
) -> CallNext:
    async def call(ctx: Context, data: Any) -> Any:
        loop = asyncio.get_running_loop()
        if bulkhead is not None:
            bulkhead.acquire()
        future = executor.submit(copy_context().run, function, ctx, data)
        if bulkhead is not None:
            # Not at its timeout: a thread can't be stopped, and counts until it ends.
            future.add_done_callback(partial(_call_on, loop, bulkhead.release))
        return await asyncio.wrap_future(future, loop=loop)

    return call


def _call_on(loop: asyncio.AbstractEventLoop, function: Callable[[], None], _: Future[Any]) -> None:
    """Call a function on the event loop's thread; the last argument is `add_done_callback`'s."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: there is nothing left to count
        loop.call_soon_threadsafe(function)


def _streaming(function: Callable[..., Any], dump: Dump | None) -> CallNext:
    async def call(ctx: Context, data: Any) -> Any:
        connection = ctx._connection  # noqa: SLF001 - the context's other side
        message_id = ctx.id
        assert message_id is not None  # noqa: S101 - dispatch refuses a stream without an id
        seq = 0
        async with contextlib.aclosing(function(ctx, data)) as chunks:
            async for chunk in chunks:
                if type(chunk) is Reply:
                    return chunk.payload
                if type(chunk) is Stated:
                    connection.send_chunk(message_id, seq, as_payload(chunk.payload), chunk.state)
                else:
                    answer = chunk if dump is None else dump(chunk)
                    connection.send_chunk(message_id, seq, as_payload(answer))
                seq += 1
                try:
                    await connection.outbox.wait_for_room()
                except ConnectionError:  # the client has left
                    return None
        return None

    return call


def _dumping(call: CallNext, dump: Dump) -> CallNext:
    async def dumped(ctx: Context, data: Any) -> Any:
        result = await call(ctx, data)
        return None if result is None else dump(result)

    return dumped
