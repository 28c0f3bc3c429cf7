"""Bound a wait for the server, and say in the client's words that it was too long."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .errors import TimedOut


@asynccontextmanager
async def time_limit(seconds: float | None) -> AsyncIterator[None]:
    """Limit the time of an `async with`.

    Args:
        seconds: How long it may take; None or infinity for as long as it takes.

    Raises:
        TimedOut: It took longer.
    """
    if seconds is None or seconds == math.inf:
        yield
        return
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        if isinstance(error, TimedOut):
            raise
        raise TimedOut(f"The server did not answer within {seconds:g} s.") from None
