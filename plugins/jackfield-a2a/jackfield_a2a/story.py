"""What becomes of a task, from its first event on: read from its topic, then as it comes."""

from collections.abc import AsyncGenerator
from typing import Any, Final, NamedTuple

from jackfield.client import Client, Event, Gap, History, Position

#: The states that nothing follows on.
ENDED: Final = frozenset({"completed", "failed", "canceled", "rejected"})
#: The states in which a task waits for its caller.
ASKING: Final = frozenset({"input_required", "auth_required"})


class StoryLost(Exception):  # noqa: N818 - it names what happened
    """The task's topic has begun anew, and what came before is not to be had."""


class Step(NamedTuple):
    """An event of a task.

    Attributes:
        offset: Its number, from 1.
        payload: What it says.
        newest: Whether nothing came after it that the server knew of.
    """

    offset: int
    payload: dict[str, Any]
    newest: bool


async def steps(client: Client, task: str) -> AsyncGenerator[Step, None]:
    """Iterate over the events of a task, from the first to its end.

    Args:
        client: Somebody who may see it.
        task: Its id.

    Raises:
        RequestError: There is no such task, or the server can't tell.
        ConnectionClosed: The connection has ended.
        StoryLost: There are events missing.
    """
    topic = f"task:{task}"
    position = Position("", 0)
    while True:
        page = await client.history(topic, after=position.offset)
        _check(page, position)
        for event in page.events:
            position = event.position
            yield Step(position.offset, event.payload, position.offset == page.position.offset)
            if event.payload.get("state") in ENDED:
                return
        if position.offset < page.position.offset:
            continue
        async with client.subscribe(topic, since=position) as subscription:
            async for item in subscription:
                if isinstance(item, Gap):
                    break  # what is missing stands in the history
                if isinstance(item, Event):
                    position = item.position
                    yield Step(position.offset, item.payload, newest=True)
                    if item.payload.get("state") in ENDED:
                        return


def _check(page: History, position: Position) -> None:
    """See that a page of the history goes on from a position."""
    moved = position.offset > 0 and page.position.epoch != position.epoch
    offsets = [event.offset for event in page.events]
    first = position.offset + 1
    if (
        moved
        or offsets != [*range(first, first + len(offsets))]
        or page.position.offset < first - 1
    ):
        raise StoryLost
