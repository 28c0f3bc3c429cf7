"""A node's channel of an agent hands on what comes to whom it is for, and is closed when idle."""

from typing import Any

import pytest

from jackfield.agents import channels as module
from jackfield.agents.channels import AgentChannel, AgentChannels
from jackfield.agents.instance import REGISTRATION, ConnectedInstance
from jackfield.store.keys import Keys
from jackfield.wire.errors import Error
from tests.support.connected import Connected

TASK = "echo." + "x" * 22
OTHER = "echo." + "y" * 22
KEYS = Keys("test", "node")


def record(words: str, body: bytes = b"") -> bytes:
    return b"%b %d\n%b" % (words.encode(), len(body), body)


class Events:
    """What follows a task, and keeps what it was handed."""

    def __init__(self, task: str = TASK) -> None:
        self.task = task
        self.received: list[tuple[str, int, bytes]] = []
        self.catch_ups = 0

    def receive(self, epoch: str, offset: int, message: bytes) -> None:
        self.received.append((epoch, offset, message))

    def catch_up(self) -> None:
        self.catch_ups += 1


class Topics:
    """Who listens to which channels."""

    def __init__(self) -> None:
        self.listeners: dict[str, Any] = {}
        self.is_away = False

    async def listen(self, channel: str, on_message: Any, on_gap: Any) -> None:
        if self.is_away:
            raise Error("unavailable")
        self.listeners[channel] = on_message, on_gap

    def stop_listening(self, channel: str) -> None:
        self.listeners.pop(channel, None)


class Channels(AgentChannels):
    """A node's channels, and where it was told of gaps."""

    def __init__(self) -> None:
        self.topics = Topics()
        self.gaps: list[AgentChannel] = []
        topics: Any = self.topics
        super().__init__(KEYS, topics, self.gaps.append)


def instance(instance_id: str = "i1") -> ConnectedInstance:
    made = ConnectedInstance(instance_id, "echo", Connected().connection, lambda _: None)
    made.activate()
    return made


def channel_with(*events: Events) -> AgentChannel:
    channel = AgentChannel("echo", "name")
    for each in events:
        unlike: Any = each
        channel.follow(unlike)
    return channel


def test_events_go_to_all_who_follow_the_task_and_to_nobody_else() -> None:
    one, two, other = Events(), Events(), Events(OTHER)
    channel = channel_with(one, two, other)
    channel.receive(
        record(f"e {TASK} epoch 3", b"first\n")
        + record(f"e {OTHER} epoch 1", b"second")
        + record("e echo.unknown epoch 9", b"third")
    )
    assert one.received == two.received == [("epoch", 3, b"first\n")]
    assert other.received == [("epoch", 1, b"second")]


def test_whoever_follows_no_more_is_handed_nothing_and_may_say_so_twice() -> None:
    one, two = Events(), Events()
    channel = channel_with(one, two)
    for _ in range(2):
        channel.unfollow(one)  # type: ignore[arg-type]
    channel.receive(record(f"e {TASK} epoch 1"))
    assert (one.received, len(two.received)) == ([], 1)
    channel.unfollow(two)  # type: ignore[arg-type]
    assert channel.followed == {}


def test_after_a_gap_all_catch_up() -> None:
    followed = [Events(), Events(), Events(OTHER)]
    channel_with(*followed).catch_up()
    assert [each.catch_ups for each in followed] == [1, 1, 1]


async def test_orders_go_to_the_instance_they_are_for() -> None:
    channel = channel_with()
    one, two = instance("i1"), instance("i2")
    channel.instances = {"i1": one, "i2": two}
    channel.receive(
        record(f"o i1 {TASK} 2 assigned", b"{}")
        + record(f"o i2 {OTHER} 1 assigned", b"{}")
        + record(f"o i2 {OTHER} 1 answered 4", b"{}")
        + record(f"o gone {TASK} 1 assigned", b"{}")
    )
    assert {task: mine.attempt for task, mine in one.tasks.items()} == {TASK: 2}
    assert two.tasks[OTHER].answers == 4


async def test_an_instance_that_has_come_back_elsewhere_is_here_no_more() -> None:
    channel = channel_with()
    moved = channel.instances["i1"] = instance()
    moved.connection[REGISTRATION].instance = moved
    channel.receive(record("o i1 - 0 moved"))
    assert channel.instances == {}
    assert moved.connection[REGISTRATION].instance is None


async def test_only_the_connection_that_is_the_instance_is_removed() -> None:
    channel, one, two = channel_with(), instance(), instance()
    channel.instances["i1"] = two
    channel.remove(one)
    assert channel.instances == {"i1": two}
    channel.remove(two)
    channel.remove(two)
    assert channel.instances == {}


async def test_a_failed_registration_gives_the_place_back() -> None:
    channel, former, failed, newer = channel_with(), instance(), instance(), instance()
    channel.instances["i1"] = failed
    channel.restore(failed, former)
    assert channel.instances == {"i1": former}
    channel.instances["i1"] = newer
    channel.restore(failed, former)
    assert channel.instances == {"i1": newer}
    channel.restore(newer, None)
    assert channel.instances == {}


async def test_a_channel_is_opened_once_and_hands_on_what_comes_to_it() -> None:
    channels = Channels()
    async with channels.use("echo") as channel, channels.use("echo") as same:
        assert channel is same
        assert channel.users == 2
        assert channel.name == KEYS.agent_channel("echo")
        (on_message, on_gap), name = channels.topics.listeners[channel.name], channel.name.encode()
        unlike: Any = (events := Events())
        channel.follow(unlike)
        on_message(name, record(f"e {TASK} epoch 1"))
        assert len(events.received) == 1
        on_gap(name)
        assert channels.gaps == [channel]
        unknown = KEYS.agent_channel("unknown").encode()
        on_message(unknown, record(f"e {TASK} epoch 2"))
        on_gap(unknown)
    assert channel.users == 0
    assert channels.gaps == [channel]


async def test_a_channel_that_can_not_be_opened_is_used_by_nobody() -> None:
    channels = Channels()
    channels.topics.is_away = True
    with pytest.raises(Error, match="unavailable"):
        async with channels.use("echo"):
            pass
    assert channels.by_agent["echo"].users == 0


@pytest.mark.parametrize("use", ["instances", "followed", "users"])
async def test_a_channel_is_closed_once_nobody_has_used_it_for_long(
    monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    monkeypatch.setattr(module, "_IDLE_SWEEPS", 2)
    channels = Channels()
    async with channels.use("echo") as channel:
        pass
    for _ in range(2):
        channels.close_idle()
    before = getattr(channel, use)
    setattr(channel, use, 1 if use == "users" else {"some": []})
    channels.close_idle()  # used: it counts anew from here
    setattr(channel, use, before)
    for _ in range(2):
        channels.close_idle()
        assert "echo" in channels.by_agent
    channels.close_idle()
    assert channels.by_agent == {}
    assert channels.topics.listeners == {}
    async with channels.use("echo") as again:
        assert again is not channel


async def test_to_use_a_channel_is_to_count_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_SWEEPS", 1)
    channels = Channels()
    for _ in range(3):
        async with channels.use("echo"):
            pass
        channels.close_idle()
    assert "echo" in channels.by_agent
