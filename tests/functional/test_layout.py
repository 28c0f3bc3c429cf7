"""Servers of several versions on one Redis: they say so, and those that do not fit do not start."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from jackfield.session import layouts
from jackfield.store import connections
from jackfield.store.layout import LAYOUT, Layout
from jackfield.testing import RunningServer
from tests.support.topics import Member, offsets, serve_topics

Config = Mapping[str, Any]

NEWER = Layout(LAYOUT.version + 1, LAYOUT.version)
FOREIGN = Layout(LAYOUT.version + 2, LAYOUT.version + 1)


@asynccontextmanager
async def server_of(
    layout: Layout | None, config: Config, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RunningServer]:
    """A server of another layout; None for one from before there was one, which says nothing."""
    with monkeypatch.context() as patch:
        other = layout or Layout(1, 1)
        patch.setattr(layouts.LayoutWatch.__init__, "__defaults__", (other,))
        *others, _ = connections.ConnectionStore.__init__.__defaults__ or ()
        patch.setattr(connections.ConnectionStore.__init__, "__defaults__", (*others, other))
        if layout is None:
            patch.setattr(connections, "layout_fields", lambda _: {})
        serving = serve_topics(config=config)
        server = await serving.__aenter__()
        await server.node.heartbeat.refresh()
    try:
        yield server
    finally:
        await serving.__aexit__(None, None, None)


def told(logs: list[Any]) -> list[str]:
    return [line["event"] for line in logs if line["event"].endswith("shares this Redis")]


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (None, "an older server shares this Redis"),
        (NEWER, "a newer server shares this Redis"),
    ],
)
async def test_a_server_of_another_version_is_told_once_in_words(
    config: Config, monkeypatch: pytest.MonkeyPatch, layout: Layout | None, words: str
) -> None:
    with capture_logs() as logs:
        async with server_of(layout, config, monkeypatch), serve_topics(config=config) as server:
            assert told(logs) == [words]
            await server.node.layouts.look()
            assert told(logs) == [words]
            assert server.node.layouts.conflict is None
    (line,) = [line for line in logs if line["event"] == words]
    assert line["own_layout"] == LAYOUT.version
    assert line["remedy"].startswith("upgrade")


async def test_an_older_server_that_runs_is_told_of_a_newer_one(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_topics(config=config) as server:
        with capture_logs() as logs:
            async with server_of(NEWER, config, monkeypatch):
                await server.node.layouts.look()
        assert "a newer server shares this Redis" in told(logs)


async def test_a_server_that_does_not_fit_a_newer_one_does_not_start(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server_of(FOREIGN, config, monkeypatch):
        with pytest.raises(layouts.LayoutError, match=r"newer server .* upgrade this server"):
            async with serve_topics(config=config):
                pass


async def test_a_newer_server_does_not_start_beside_an_older_one_that_does_not_fit(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_topics(config=config) as server:
        await server.node.heartbeat.refresh()
        with pytest.raises(layouts.LayoutError, match=r"older server .* stop all servers of that"):
            async with server_of(FOREIGN, config, monkeypatch):
                pass


async def test_one_that_could_not_find_out_at_its_start_is_not_ready(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_topics(config=config) as server:
        server.node.layouts._layout = FOREIGN
        async with serve_topics(config=config) as other:
            await other.node.heartbeat.refresh()
            await server.node.layouts.look()
            assert "older server" in (server.node.layouts.conflict or "")
        await server.node.layouts.look()
        assert server.node.layouts.conflict is None


async def test_a_rolling_upgrade_loses_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_topics(config=config) as new:
        async with server_of(None, config, monkeypatch) as old:
            async with Member(old, "alice") as alice, Member(new, "bob") as bob:
                await alice.subscribe("room:a")
                await bob.subscribe("room:a")
                for number, member in enumerate((alice, bob, alice, bob)):
                    await member.publish("room:a", {"n": number})
                await alice.next()  # bob has come
                assert offsets(await alice.events("room:a", 4)) == [1, 2, 3, 4]
                assert offsets(await bob.events("room:a", 4)) == [1, 2, 3, 4]
        async with Member(new, "alice") as alice:
            history = await alice.reply("topic.history", topic="room:a")
            assert offsets(history["events"]) == [1, 2, 3, 4]
