"""Read an iteration to its end, whatever that is."""

from collections.abc import AsyncIterable
from typing import TypeVar

T = TypeVar("T")


async def read_all(items: AsyncIterable[T]) -> tuple[list[T], Exception | None]:
    """What an iteration gave, and what it ended with."""
    read: list[T] = []
    try:
        async for item in items:
            read.append(item)  # noqa: PERF401 - an exception would lose them
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return read, error
    return read, None
