"""The heartbeat closes the dead, keeps the living, and is stopped by no fault."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

import pytest

from jackfield.config import ConnectionSettings
from jackfield.connection.connection import Connection
from jackfield.connection.hub import Hub
from jackfield.connection.shares import Shares
from jackfield.session.heartbeat import Heartbeat
from jackfield.session.layouts import LayoutWatch
from jackfield.store.connections import ConnectionStore, ReapedConnection
from jackfield.topics.topics import Topics
from jackfield.wire import frames
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from tests.support.connected import Connected
from tests.support.waiting import wait_until


class Store:
    """What is asked of Redis, and what it answers."""

    def __init__(self) -> None:
        self.refreshed: list[list[str]] = []
        self.rewritten: int | None = 0
        self.departed: list[ReapedConnection] = []
        self.reaps = 0
        self.fault: Exception | None = None

    async def heartbeat(self, connections: Sequence[Connection]) -> int | None:
        self._fail()
        self.refreshed.append([each.id for each in connections])
        return self.rewritten

    async def reap(self) -> list[ReapedConnection]:
        self._fail()
        self.reaps += 1
        return self.departed

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault


class FollowedTopics:
    """What is asked of topics."""

    def __init__(self) -> None:
        self.left: list[str] = []
        self.refreshes = 0

    def leave_all(self, connection: Connection) -> None:
        self.left.append(connection.id)

    async def refresh(self) -> None:
        self.refreshes += 1


class Beating:
    """A heartbeat on a hub with clients."""

    def __init__(self, *ids: str, interval: float = 0.0, ttl: float = 3600.0) -> None:
        self.hub, self.store, self.topics = Hub(), Store(), FollowedTopics()
        self.clients = [Connected(connection_id=each) for each in ids]
        for client in self.clients:
            self.hub.add(client.connection)
        self.beats: list[str] = []
        self.heartbeat = Heartbeat(
            self.hub,
            cast(ConnectionStore, self.store),
            cast(Topics, self.topics),
            ConnectionSettings(heartbeat=interval, ttl=ttl),
            shares=cast(Shares, self),
            layouts=cast(LayoutWatch, self),
            idle_timeout=0,
        )

    async def reconcile(self) -> None:
        self.beats.append("shares")

    async def look(self) -> None:
        self.beats.append("layouts")

    def close(self) -> None:
        for client in self.clients:
            client.close()


@pytest.fixture
async def beating() -> AsyncIterator[Beating]:
    made = Beating("one", "two")
    yield made
    made.close()


async def test_everyone_is_pinged_once_and_who_stays_silent_is_closed(beating: Beating) -> None:
    one, two = beating.clients
    await beating.heartbeat.ping()
    assert [client.sent() for client in beating.clients] == [[frames.HEARTBEAT]] * 2
    one.connection.alive = True
    await beating.heartbeat.ping()
    assert one.closed_with() is None
    assert two.closed_with() is CloseCode.NO_PONG


async def test_who_is_not_read_is_not_blamed(beating: Beating) -> None:
    one, two = beating.clients
    one.idle_reader.is_reading = False
    for _ in range(2):
        await beating.heartbeat.ping()
    assert one.closed_with() is None
    assert two.closed_with() is CloseCode.NO_PONG


async def test_many_are_pinged_in_groups() -> None:
    beating = Beating(*map(str, range(120)))
    pinging = asyncio.create_task(beating.heartbeat.ping())
    await asyncio.sleep(0)
    pinged = [client for client in beating.clients if client.sent()]
    assert pinged == beating.clients[:3]
    await pinging
    assert [client.sent() for client in beating.clients[3:]] == [[frames.HEARTBEAT]] * 117
    beating.close()


async def test_who_is_being_closed_is_not_refreshed(beating: Beating) -> None:
    beating.clients[0].connection.close(CloseCode.OK)
    await beating.heartbeat.refresh()
    assert beating.store.refreshed == [["two"]]


async def test_what_was_missing_is_logged(beating: Beating, logged: Callable[[], str]) -> None:
    await beating.heartbeat.refresh()
    assert "written again" not in logged()
    beating.store.rewritten = 2
    await beating.heartbeat.refresh()
    assert '"count": 2' in logged()
    assert [client.closed_with() for client in beating.clients] == [None, None]


async def test_taken_for_dead_everyone_leaves_their_topics_and_comes_back(
    beating: Beating,
) -> None:
    beating.store.rewritten = None
    await beating.heartbeat.refresh()
    assert beating.topics.left == ["one", "two"]
    assert {client.closed_with() for client in beating.clients} == {CloseCode.UNAVAILABLE}


async def test_topics_are_refreshed_behind_a_refresh(beating: Beating) -> None:
    refreshing = asyncio.create_task(beating.heartbeat.refresh_topics())
    await asyncio.sleep(0)
    assert beating.topics.refreshes == 0
    await beating.heartbeat.refresh()
    await refreshing
    assert beating.topics.refreshes == 1
    again = asyncio.create_task(beating.heartbeat.refresh_topics())
    await asyncio.sleep(0)
    assert beating.topics.refreshes == 1
    again.cancel()
    await asyncio.wait([again])


async def test_what_dead_nodes_left_is_removed(beating: Beating, logged: Callable[[], str]) -> None:
    await beating.heartbeat.reap()
    assert "dead nodes" not in logged()
    beating.store.departed = [ReapedConnection("node", "c9", None)]
    await beating.heartbeat.reap()
    assert '"connections": 1' in logged()


async def run_until(beating: Beating, condition: Callable[[], Any]) -> None:
    running = asyncio.create_task(beating.heartbeat.run())
    await wait_until(condition)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def test_it_beats_again_and_again(beating: Beating) -> None:
    store, topics = beating.store, beating.topics
    await run_until(
        beating,
        lambda: len(store.refreshed) > 2 and store.reaps > 2 and topics.refreshes > 2,
    )
    assert store.refreshed[0] == ["one", "two"]


async def test_while_redis_is_away_it_says_so_once_and_reaps_nobody_for_a_ttl(
    beating: Beating, logged: Callable[[], str]
) -> None:
    beating.store.fault = Error("unavailable")

    def is_back() -> bool:
        if "Redis is away" in logged():
            beating.store.fault = None
        return "Redis is back" in logged() and len(beating.store.refreshed) > 2

    await run_until(beating, is_back)
    assert (logged().count("Redis is away"), logged().count("Redis is back")) == (1, 1)
    assert beating.store.reaps == 0


async def test_after_a_ttl_it_reaps_again() -> None:
    beating = Beating(ttl=0.0)
    beating.store.fault = Error("unavailable")

    def has_reaped() -> bool:
        beating.store.fault = None
        return beating.store.reaps > 0

    await run_until(beating, has_reaped)
    assert beating.store.reaps > 0


async def test_no_fault_ends_it(beating: Beating, logged: Callable[[], str]) -> None:
    beating.store.fault = ValueError("broken")

    def goes_on() -> bool:
        if "a heartbeat failed" in logged():
            beating.store.fault = None
        return len(beating.store.refreshed) > 1

    await run_until(beating, goes_on)
    assert "broken" in logged()
