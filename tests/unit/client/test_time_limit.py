"""A wait that was too long is told in the client's words."""

import asyncio
import math

import pytest

from jackfield.client import JackfieldError, TimedOut
from jackfield.client.time_limit import time_limit


async def test_a_wait_that_is_too_long_is_one_of_the_clients_errors() -> None:
    with pytest.raises(TimedOut, match=r"within 0\.01 s") as late:
        async with time_limit(0.01):
            await asyncio.Event().wait()
    assert isinstance(late.value, JackfieldError)
    assert isinstance(late.value, TimeoutError)


@pytest.mark.parametrize("seconds", [None, math.inf])
async def test_without_a_limit_it_takes_as_long_as_it_takes(seconds: float | None) -> None:
    async with time_limit(seconds):
        done = await asyncio.sleep(0, "done")
    assert done == "done"


async def test_a_timeout_within_stays_what_it_is() -> None:
    with pytest.raises(TimedOut, match="inner"):
        async with time_limit(10):
            raise TimedOut("inner")
