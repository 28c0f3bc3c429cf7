"""What tests of every kind share."""

import asyncio
from collections.abc import Awaitable, Callable


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
