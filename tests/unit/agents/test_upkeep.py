"""What a node does for its agents unasked, and that no fault ends it."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest

from jackfield.agents import upkeep as module
from jackfield.agents.channels import AgentChannel
from jackfield.agents.instance import ConnectedInstance
from jackfield.agents.upkeep import Upkeep
from jackfield.store.tasks import HeldTask
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.position import Position
from tests.support.connected import Connected
from tests.support.waiting import wait_until

TASK = "echo." + "x" * 22
OTHER = "echo." + "y" * 22


class Store:
    """Agents in Redis, and what was asked of them."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        #: What instances have; None for one that was taken for dead.
        self.held: list[HeldTask] | None = []
        self.tasks: dict[str, dict[str, bytes]] = {}
        self.refreshed: list[list[str]] = []
        self.repeated: list[tuple[str, str]] = []
        self.swept: list[set[str]] = []

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault

    async def agents(self) -> list[str]:
        self._check()
        return ["echo", "elsewhere"]

    async def refresh(
        self, _agent: str, instances: Sequence[str], users: Collection[str]
    ) -> list[list[HeldTask] | None]:
        assert users == {""}
        self.refreshed.append(list(instances))
        self._check()
        return [self.held for _ in instances]

    async def repeat_orders(self, task: str, *, instance: str) -> None:
        self.repeated.append((task, instance))

    async def read_task(self, task: str) -> dict[str, bytes]:
        return self.tasks.get(task, {})

    async def sweep(self, agents: Collection[str]) -> None:
        self.swept.append(set(agents))
        self._check()


class Topics:
    """Where topics stand."""

    def __init__(self) -> None:
        self.position = Position("e", 3)
        self.calls: list[int] = []

    async def refresh(self, stored: Sequence[Any]) -> list[Position]:
        self.calls.append(len(stored))
        return [self.position for _ in stored]


class Channels:
    """The channels of a node."""

    def __init__(self) -> None:
        self.by_agent = {"echo": AgentChannel("echo", "channel")}
        self.closings = 0

    def close_idle(self) -> None:
        self.closings += 1


class Events:
    """What follows a task, and what it was compared with."""

    def __init__(self) -> None:
        self.task = TASK
        self.stored = object()
        self.compared: list[Position] = []

    def compare(self, position: Position) -> None:
        self.compared.append(position)


class Node:
    """The upkeep of a node that has one instance."""

    def __init__(self, lease: float = 3600) -> None:
        self.store, self.topics, self.channels = Store(), Topics(), Channels()
        store: Any = self.store
        topics: Any = self.topics
        channels: Any = self.channels
        self.upkeep = Upkeep(store, topics, channels, lease)
        self.client = Connected()
        self.instance = ConnectedInstance("i1", "echo", self.client.connection, lambda _: None)
        self.instance.activate()
        self.channel.instances["i1"] = self.instance

    @property
    def channel(self) -> AgentChannel:
        return self.channels.by_agent["echo"]

    def has(self, *tasks: str) -> None:
        for task in tasks:
            self.instance.obey(task, 1, "assigned", b'{"type":"agent.assigned","payload":{}}')
        self.client.sent()

    def canceled(self) -> list[str]:
        return [message["payload"]["task"] for message in self.client.sent()]


def held(task: str = TASK, attempt: int = 1) -> HeldTask:
    return HeldTask(task, attempt, seq=0, state="working", answers=0)


async def test_the_leases_of_all_instances_here_are_renewed() -> None:
    node = Node()
    node.has(TASK)
    node.store.held = [held()]
    await node.upkeep.renew(node.channel)
    assert node.store.refreshed == [["i1"]]
    assert node.store.repeated == []
    assert node.canceled() == []


async def test_without_instances_nothing_is_renewed() -> None:
    node = Node()
    node.channel.instances.clear()
    await node.upkeep.renew(node.channel)
    assert node.store.refreshed == []


async def test_what_an_instance_was_not_sent_is_sent_again() -> None:
    node = Node()
    node.has(TASK)
    node.store.held = [held(TASK), held(OTHER)]
    await node.upkeep.renew(node.channel)
    assert node.store.repeated == [(OTHER, "i1")]


async def test_what_an_instance_has_no_longer_is_canceled() -> None:
    node = Node()
    node.has(TASK, OTHER)
    node.store.held = [held(OTHER)]
    await node.upkeep.renew(node.channel)
    assert node.canceled() == [TASK]


@pytest.mark.parametrize(
    ("instance", "state", "is_kept"),
    [(b"i1", b"working", True), (b"i2", b"working", False), (b"i1", b"completed", False)],
)
async def test_what_has_come_since_it_was_looked_is_kept(
    instance: bytes, state: bytes, *, is_kept: bool
) -> None:
    node = Node()
    node.has(TASK)
    node.store.tasks[TASK] = {"instance": instance, "state": state}
    await node.upkeep.renew(node.channel)
    assert node.canceled() == ([] if is_kept else [TASK])


async def test_an_instance_that_was_taken_for_dead_loses_all_and_registers_anew() -> None:
    node = Node()
    node.has(TASK, OTHER)
    node.store.held = None
    await node.upkeep.renew(node.channel)
    *canceled, goodbye, close = node.client.sent()
    assert [message["payload"]["task"] for message in canceled] == [TASK, OTHER]
    assert goodbye["type"] == "goodbye"
    assert close[0] == CloseCode.UNAVAILABLE
    node.client.close()


async def test_an_instance_that_has_gone_meanwhile_is_left_alone() -> None:
    node = Node()
    node.has(TASK)
    node.store.held = None
    refresh = node.store.refresh

    async def leave(agent: str, instances: Sequence[str], users: Collection[str]) -> Any:
        node.channel.instances.clear()
        return await refresh(agent, instances, users)

    store: Any = node.store
    store.refresh = leave
    await node.upkeep.renew(node.channel)
    assert node.client.sent() == []


async def test_followed_tasks_are_compared_with_where_their_topics_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    node = Node()
    followed = [Events() for _ in range(5)]
    for events in followed:
        unlike: Any = events
        node.channel.follow(unlike)
    await node.upkeep.renew(node.channel)
    assert node.topics.calls == [2, 2, 1]
    assert all(events.compared == [node.topics.position] for events in followed)


@pytest.mark.parametrize("fault", [Error("unavailable"), RuntimeError("broken")])
async def test_a_renewal_that_fails_is_logged_if_it_is_a_fault(
    fault: Exception, logged: Callable[[], str]
) -> None:
    node = Node()
    node.store.fault = fault
    await node.upkeep.renew(node.channel)
    assert ("an agent's lease was not renewed" in logged()) is isinstance(fault, RuntimeError)


@pytest.mark.parametrize(("everyone", "agents"), [(False, {"echo"}), (True, {"echo", "elsewhere"})])
async def test_a_sweep_is_of_this_nodes_agents_or_of_all(
    agents: set[str], *, everyone: bool
) -> None:
    node = Node()
    await node.upkeep.sweep(everyone=everyone)
    assert node.store.swept == [agents]
    assert node.channels.closings == 1


@pytest.mark.parametrize("fault", [None, Error("unavailable"), RuntimeError("broken")])
async def test_sweeps_and_renewals_go_on_whatever_fails(
    monkeypatch: pytest.MonkeyPatch, fault: Exception | None, logged: Callable[[], str]
) -> None:
    monkeypatch.setattr(module, "_SWEEP_INTERVAL", 0)
    monkeypatch.setattr(module, "_SWEEPS_OF_ALL", 3)
    node = Node(lease=0)
    node.store.fault = fault
    running = asyncio.create_task(node.upkeep.run())
    await wait_until(lambda: node.channels.closings > 6 and len(node.store.refreshed) > 2)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
    if fault is None:
        assert node.store.swept[:3] == [{"echo"}, {"echo"}, {"echo", "elsewhere"}]
    assert ("a sweep for due tasks failed" in logged()) is isinstance(fault, RuntimeError)
