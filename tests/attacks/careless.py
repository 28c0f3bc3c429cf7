"""A plugin that does whatever a plugin should not."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from marshmallow import Schema, ValidationError, fields

from jackfield import Context, Plugin

careless = Plugin("careless")

_tasks: list[asyncio.Task[None]] = []


class Wild(Schema):
    value = fields.Raw(validate=lambda value: sys.exit(f"validated {value}"))


class Doubtful(Schema):
    value = fields.Raw(required=True)

    @staticmethod
    def refuse(value: Any) -> None:
        raise ValidationError(f"{value} is not to my liking")


@careless.handler("careless.fail")
async def fail(ctx: Context, data: dict[str, Any]) -> None:
    raise RuntimeError("a fault")


@careless.handler("careless.fail_in_thread")
def fail_in_thread(ctx: Context, data: dict[str, Any]) -> None:
    raise RuntimeError("a fault")


@careless.handler("careless.fail_in_stream")
async def fail_in_stream(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    for number in range(0):
        yield {"number": number}
    raise RuntimeError("a fault")


@careless.handler("careless.exit")
async def leave(ctx: Context, data: dict[str, Any]) -> None:
    sys.exit("done")


@careless.handler("careless.exit_in_thread")
def leave_in_thread(ctx: Context, data: dict[str, Any]) -> None:
    sys.exit("done")


@careless.handler("careless.exit_in_schema", Wild)
async def leave_in_schema(ctx: Context, data: dict[str, Any]) -> None: ...


@careless.handler("careless.await_cancelled")
async def await_cancelled(ctx: Context, data: dict[str, Any]) -> None:
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    await task


@careless.handler("careless.recurse")
async def recurse(ctx: Context, data: dict[str, Any]) -> None:
    await recurse(ctx, data)


@careless.handler("careless.stop_iteration")
async def stop_iteration(ctx: Context, data: dict[str, Any]) -> None:
    next(iter(()))


@careless.handler("careless.block")
async def block(ctx: Context, data: dict[str, Any]) -> None:
    time.sleep(0.5)  # noqa: ASYNC251 - what must not be done


@careless.handler("careless.leak")
async def leak(ctx: Context, data: dict[str, Any]) -> None:
    async def forget() -> None:
        await asyncio.sleep(3600)

    async def fail_unseen() -> None:
        raise RuntimeError("nobody awaits this")

    for _ in range(1000):
        _tasks.append(asyncio.create_task(forget()))
        asyncio.create_task(fail_unseen())  # noqa: RUF006 - what must not be done


@careless.handler("careless.quote", Doubtful)
async def quote(ctx: Context, data: dict[str, Any]) -> None:
    raise RuntimeError(data["value"])


@careless.handler("careless.log", Doubtful)
async def log(ctx: Context, data: dict[str, Any]) -> None:
    ctx.log.info(data["value"], text=data["value"], inside={"text": data["value"]})
