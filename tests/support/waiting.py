"""What tests of every kind share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from jackfield.config import RedisSettings, Secret
from jackfield.redis.client import RedisClient
from jackfield.wire.errors import Error

#: Seconds: a hundred times what prompt things take, so that no machine is too busy for them.
PROMPT: Final = 10.0


async def wait_until(
    condition: Callable[[], Awaitable[object] | object],
    timeout: float = 10,  # noqa: ASYNC109 - a bound for a failing test; none waits that long
) -> None:
    """Wait until a condition holds.

    Args:
        condition: Called again and again, and awaited if it is asynchronous, until it is true.
        timeout: Seconds.

    Raises:
        TimeoutError: It does not come to hold.
    """
    async with asyncio.timeout(timeout):
        while True:
            result = condition()
            if await result if isinstance(result, Awaitable) else result:
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def promptly() -> AsyncIterator[None]:
    """Assert that what is done in the context waits for nobody, by the clock.

    What would be waited for must last longer than `PROMPT`, or be waited for again and again.
    """
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.timeout(PROMPT):
        yield
    # A loop that was held has had no chance to notice the time.
    assert loop.time() - begin < PROMPT


def redis_settings(
    *, timeout: float = 10, pool: int = 8, password: str | None = None
) -> RedisSettings:
    """Settings for a `RedisClient`, which is given its URL apart; patient, for a busy machine."""
    return RedisSettings(
        url="",
        prefix="test",
        password=None if password is None else Secret(password),
        timeout=timeout,
        pool=pool,
        probe=1.0,
        tls_ca=None,
    )


async def is_served(client: RedisClient, key: str) -> bool:
    """Whether Redis takes a write; if not, whoever wanted it is told ``unavailable``."""
    try:
        await client.execute("SET", key, "written")
    except Error as exc:
        if exc.code != "unavailable":
            raise
        return False
    return True


async def assert_every_key_expires(client: RedisClient, pattern: str) -> None:
    """Assert that no key of these is without a TTL."""
    cursor = 0
    while True:
        cursor, keys = await client.execute("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        for key in keys:
            assert await client.execute("PTTL", key) != -1, f"{key!r} has no TTL"
        if int(cursor) == 0:
            return
