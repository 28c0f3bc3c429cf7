"""A server stops at a signal and within its deadline, and at a second one at once."""

import asyncio
import os
import resource
import signal
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import ClientSession, web

from jackfield import runner as module
from jackfield.config import load_settings
from jackfield.node import Node
from jackfield.runner import serve

Config = Mapping[str, Any]


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses that the process would have ended with; this one does not change."""
    statuses: list[int] = []

    def end(status: int) -> None:
        statuses.append(status)

    monkeypatch.setattr(module, "_end_process", end)
    monkeypatch.setattr(module, "_relax_garbage_collection", lambda: None)
    return statuses


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_a_signal(
    config: Config, process: list[int], number: signal.Signals, logged: Callable[[], str]
) -> None:
    settings = load_settings(None, {}, {**config, "server": {"port": 0}})
    started: asyncio.Queue[tuple[str, Node]] = asyncio.Queue()
    serving = asyncio.create_task(serve(settings, lambda *told: started.put_nowait(told)))
    address, node = await started.get()
    async with ClientSession() as http, http.get(f"{address}/healthz") as response:
        assert response.status == 200
    os.kill(os.getpid(), number)
    await serving
    assert node.hub.draining
    assert process == []
    assert f'"node": "{node.id}"' in logged()
    assert [event in logged() for event in ("serving", "shutting down", "stopped")] == [True] * 3


async def test_an_address_that_is_taken_is_an_error_and_leaves_nothing(config: Config) -> None:
    started: asyncio.Queue[tuple[str, Node]] = asyncio.Queue()
    free = load_settings(None, {}, {**config, "server": {"port": 0}})
    serving = asyncio.create_task(serve(free, lambda *told: started.put_nowait(told)))
    address, _ = await started.get()
    port = int(address.rpartition(":")[2])
    taken = load_settings(None, {}, {**config, "server": {"port": port}})
    with pytest.raises(OSError, match="address already in use"):
        await serve(taken)
    serving.cancel()
    await asyncio.wait([serving])


def test_a_second_signal_ends_the_process_at_once(process: list[int]) -> None:
    stop = asyncio.Event()
    module._on_stop_signal(stop)
    assert stop.is_set()
    assert process == []
    module._on_stop_signal(stop)
    assert process == [1]


class Stuck(web.AppRunner):
    """A runner whose cleanup never ends."""

    async def cleanup(self) -> None:
        await asyncio.Event().wait()


async def test_what_is_not_stopped_by_the_deadline_ends_with_the_process(
    process: list[int], logged: Callable[[], str]
) -> None:
    await module._stop(Stuck(web.Application()), 0.01)
    assert process == [0]
    assert "not stopped by the deadline" in logged()


async def test_a_thread_that_runs_on_is_waited_for_until_the_deadline(
    process: list[int], monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    runner = web.AppRunner(web.Application())
    busy = [object()]
    monkeypatch.setattr(module, "busy_threads", lambda: busy)
    await module._stop(runner, 0.01)
    assert process == [0]
    assert '"busy_threads": 1' in logged()
    looks = iter([busy, busy, []])
    monkeypatch.setattr(module, "_POLL_INTERVAL", 0)
    monkeypatch.setattr(module, "busy_threads", lambda: next(looks))
    await module._stop(runner, 3600)
    assert process == [0]


@pytest.mark.parametrize(
    ("limits", "expected", "says"),
    [
        ((1024, 4096), [(4096, 4096)], False),
        ((4096, 4096), [], False),
        ((256, 512), [(512, 512)], True),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), [], False),
    ],
)
def test_as_many_files_may_be_open_as_the_system_allows(
    monkeypatch: pytest.MonkeyPatch,
    logged: Callable[[], str],
    limits: tuple[int, int],
    expected: list[tuple[int, int]],
    *,
    says: bool,
) -> None:
    given: list[Any] = []
    fake = SimpleNamespace(
        RLIMIT_NOFILE=resource.RLIMIT_NOFILE,
        RLIM_INFINITY=resource.RLIM_INFINITY,
        getrlimit=lambda _: limits,
        setrlimit=lambda _, changed: given.append(changed),
    )
    monkeypatch.setattr(module, "resource", cast(Any, fake))
    module._raise_open_files_limit(1000)
    assert given == expected
    assert ("fewer files" in logged()) is says
