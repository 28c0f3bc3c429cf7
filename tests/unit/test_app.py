"""An application starts its parts in order, stops them in reverse, and contains its plugins."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from jackfield import Context, Plugin, Runtime
from jackfield import app as module
from jackfield.app import busy_threads, create_app, drain
from jackfield.auth import Anonymous
from jackfield.config import ConfigError, load_settings
from jackfield.declaration.candidates import discover
from jackfield.dispatch.plugin_entry import PluginFailures
from jackfield.node import NODE, Node
from tests.support.candidates import candidate, plugin
from tests.support.waiting import wait_until

Config = Mapping[str, Any]


class Staged:
    """Plugins and an authenticator that keep the order in which they start and stop."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def plugin(
        self,
        name: str,
        *,
        start: Callable[[], None] | None = None,
        stop: Callable[[], None] | None = None,
    ) -> Plugin:
        made = plugin(name)

        @made.lifespan
        async def lifespan(runtime: Runtime) -> AsyncIterator[Any]:
            self.stages.append(f"{name} starts")
            if start is not None:
                start()
            yield name.upper()
            self.stages.append(f"{name} stops")
            if stop is not None:
                stop()

        return made

    def authenticator(self) -> Anonymous:
        stages = self.stages

        class Entered(Anonymous):
            async def __aenter__(self) -> None:
                stages.append("authenticator starts")

            async def __aexit__(self, *_: object) -> None:
                stages.append("authenticator stops")

        return Entered()


@asynccontextmanager
async def running(config: Config, *plugins: Plugin, **options: Any) -> AsyncIterator[Node]:
    settings = load_settings(None, {}, config)
    own = [each for each in discover() if each.distribution == "jackfield"]
    app = create_app(settings, candidates=[*own, *map(candidate, plugins)], **options)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        yield app[NODE]
        await drain(app)
    finally:
        await runner.cleanup()


async def test_plugins_start_in_order_and_stop_in_reverse(config: Config) -> None:
    staged = Staged()
    async with running(
        config,
        staged.plugin("poll"),
        staged.plugin("chat"),
        authenticators=[staged.authenticator()],
    ) as node:
        assert staged.stages == ["chat starts", "poll starts", "authenticator starts"]
        assert node.runtimes["chat"].resource == "CHAT"
        assert {"chat.send", "poll.send", "session.ping"} <= set(node.registry.routes)
        assert node.revocations.is_ready
    assert staged.stages[3:] == ["authenticator stops", "poll stops", "chat stops"]
    assert node.hub.draining


def fail() -> None:
    raise RuntimeError("broken")


async def test_a_plugin_that_fails_to_start_is_left_out(
    config: Config, logged: Callable[[], str]
) -> None:
    staged = Staged()
    async with running(config, staged.plugin("chat", start=fail), staged.plugin("poll")) as node:
        assert "chat.send" not in node.registry.routes
        assert "poll.send" in node.registry.routes
    assert staged.stages == ["chat starts", "poll starts", "poll stops"]
    assert '"stage": "start"' in logged()
    assert "it failed to start: RuntimeError: broken" in logged()


async def test_one_that_takes_too_long_to_start_is_left_out(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = plugin("slow")

    @slow.lifespan
    async def lifespan(runtime: Runtime) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr(module, "_START_TIMEOUT", 0.01)
    async with running(config, slow) as node:
        assert [entry.name for entry in node.registry.failed] == ["slow"]


async def test_one_that_fails_to_stop_keeps_no_other_from_it(
    config: Config, logged: Callable[[], str]
) -> None:
    staged, twice = Staged(), plugin("twice")

    @twice.lifespan
    async def lifespan(runtime: Runtime) -> AsyncIterator[Any]:
        yield
        yield

    async with running(config, staged.plugin("chat"), staged.plugin("poll", stop=fail), twice):
        pass
    assert staged.stages[2:] == ["poll stops", "chat stops"]
    assert "a plugin failed to stop" in logged()
    assert "a plugin's lifespan yields twice" in logged()


async def test_strict_makes_a_failure_fatal_and_what_has_started_is_stopped(
    config: Config,
) -> None:
    staged = Staged()
    strict = {**config, "plugins": {"strict": True}}
    with pytest.raises(PluginFailures, match="broken"):
        async with running(strict, staged.plugin("chat"), staged.plugin("poll", start=fail)):
            raise AssertionError
    assert staged.stages == ["chat starts", "poll starts", "chat stops"]


def test_what_is_wrong_before_the_start_is_raised(logged: Callable[[], str]) -> None:
    broken = candidate(ImportError("no numpy"), "broken")
    with pytest.raises(PluginFailures):
        create_app(load_settings(None, {}, {"plugins": {"strict": True}}), candidates=[broken])
    assert "a plugin was left out" in logged()
    with pytest.raises(ConfigError):
        create_app(load_settings(None, {}, {"plugins": {"enabled": ["none"]}}), candidates=[])


@pytest.mark.parametrize(("console", "kind"), [(True, "text/html"), (False, "application/json")])
async def test_its_routes_are_those_of_the_parts(config: Config, console: bool, kind: str) -> None:  # noqa: FBT001
    settings = load_settings(None, {}, {**config, "server": {"console": console}})
    async with TestServer(create_app(settings)) as server, ClientSession() as http:
        statuses: dict[str, int] = {}
        for path in ("/healthz", "/readyz", "/metrics", "/ws", "/jackfield/index.js", "/none"):
            async with http.get(server.make_url(path)) as response:
                statuses[path] = response.status
        assert list(statuses.values()) == [200, 200, 200, 426, 200, 404]
        async with http.post(server.make_url("/api/v1/tickets")) as response:
            assert response.status == 401
        headers = {"Accept": "text/html"}
        async with http.get(server.make_url("/"), headers=headers) as response:
            assert response.content_type == kind


async def test_the_state_of_those_who_are_still_connected_is_removed(config: Config) -> None:
    async with running(config) as node:
        removed: list[str] = []
        original = node.store.remove_all

        async def remove_all(records: Any) -> None:
            removed.append("all")
            await original(records)

        node.store.remove_all = remove_all  # type: ignore[method-assign]
    assert removed == ["all"]


async def test_threads_of_plain_handlers_are_told_apart(config: Config) -> None:
    goes_on = threading.Event()
    waiting = Plugin("waiting")

    @waiting.handler("waiting.do")
    def wait(ctx: Context, data: Any) -> None:
        """Never called: its thread is."""

    async with running(config, waiting) as node:
        assert busy_threads() == []
        future = node.executor.submit(goes_on.wait, 10)
        assert len(busy_threads()) == 1
        goes_on.set()
        assert future.result()
    await wait_until(lambda: busy_threads() == [])
