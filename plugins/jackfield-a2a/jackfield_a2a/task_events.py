"""The events of a task from the first on: read from its topic's history, then as they come."""

from collections.abc import AsyncGenerator
from typing import Any, Final, NamedTuple

from jackfield.client import Client, Event, Gap, History, Position

#: The states that nothing follows on.
ENDED: Final = frozenset({"completed", "failed", "canceled", "rejected"})
#: The states in which a task waits for its caller.
ASKING: Final = frozenset({"input_required", "auth_required"})


class EventsLost(Exception):  # noqa: N818 - it names what happened
    """The task's topic has begun anew, and earlier events are lost."""


class TaskEvent(NamedTuple):
    """An event of a task.

    Attributes:
        offset: Its number, from 1.
        payload: Its payload.
        newest: Whether the server knew of none after it.
    """

    offset: int
    payload: dict[str, Any]
    newest: bool


async def read_task_events(client: Client, task: str) -> AsyncGenerator[TaskEvent, None]:
    """Iterate over the events of a task, from the first to its end.

    Args:
        client: The client of somebody who may see the task.
        task: Its id.

    Raises:
        RequestError: There is no such task, or the server can't tell.
        ConnectionClosed: The connection has ended.
        EventsLost: Some events are missing.
    """
    topic = f"task:{task}"
    position = Position("", 0)
    while True:
        page = await client.history(topic, after=position.offset)
        _check(page, position)
        for event in page.events:
            position = event.position
            yield TaskEvent(position.offset, event.payload, position.offset == page.position.offset)
            if event.payload.get("state") in ENDED:
                return
        if position.offset < page.position.offset:
            continue
        async with client.subscribe(topic, since=position) as subscription:
            async for item in subscription:
                if isinstance(item, Gap):
                    break  # what is missing is in the history
                if isinstance(item, Event):
                    position = item.position
                    yield TaskEvent(position.offset, item.payload, newest=True)
                    if item.payload.get("state") in ENDED:
                        return


def _check(page: History, position: Position) -> None:
    """Check that a page of the history goes on from a position."""
    moved = position.offset > 0 and page.position.epoch != position.epoch
    offsets = [event.offset for event in page.events]
    first = position.offset + 1
    if (
        moved
        or offsets != [*range(first, first + len(offsets))]
        or page.position.offset < first - 1
    ):
        raise EventsLost
