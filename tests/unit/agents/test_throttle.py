"""An agent that is paused and resumed in a hurry is left as it was wanted last."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from jackfield.agents.throttle import AgentThrottle
from jackfield.wire.errors import Error


class SlowStore:
    """Takes each call when the test says so."""

    def __init__(self) -> None:
        self.told: list[bool] = []
        self.go_on = asyncio.Event()
        self.error: Error | None = None

    async def hold(self, task: str, *, node: str, wait: bool) -> None:
        assert (task, node) == ("echo.1", "node")
        self.told.append(wait)
        await self.go_on.wait()
        if self.error is not None:
            raise self.error


class Throttled:
    def __init__(self) -> None:
        self.store = cast("Any", SlowStore())
        self.tasks: list[asyncio.Task[None]] = []
        self.throttle = AgentThrottle(self.store, "node", self.run_soon).throttle

    def run_soon(self, work: Coroutine[Any, Any, None], task: str) -> None:
        assert task == "echo.1"
        self.tasks.append(asyncio.get_running_loop().create_task(work))


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ([True], [True]),
        ([True, False], [True, False]),
        ([True, False, True], [True]),
        ([True, False, True, False], [True, False]),
    ],
)
async def test_what_is_wanted_meanwhile_is_told_once_and_last(
    wanted: list[bool], told: list[bool]
) -> None:
    throttled = Throttled()
    throttled.throttle("echo.1", pause=wanted[0])
    await asyncio.sleep(0)
    for pause in wanted[1:]:
        throttled.throttle("echo.1", pause=pause)
    assert throttled.store.told == wanted[:1]
    throttled.store.go_on.set()
    (task,) = throttled.tasks
    await task
    assert throttled.store.told == told


async def test_after_a_failure_it_is_told_anew() -> None:
    throttled = Throttled()
    throttled.store.error = Error("unavailable")
    throttled.store.go_on.set()
    throttled.throttle("echo.1", pause=True)
    with pytest.raises(Error):
        await throttled.tasks[0]
    throttled.store.error = None
    throttled.throttle("echo.1", pause=True)
    await throttled.tasks[1]
    assert throttled.store.told == [True, True]
