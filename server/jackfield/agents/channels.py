"""This node's channels: one for each agent that it has to do with, and who listens to it.

By it the node learns what becomes of the tasks of callers that are here, and gets the orders for
instances that are.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from jackfield.store.keys import Keys
from jackfield.topics.topics import Topics

from .instance import REGISTRATION, ConnectedInstance
from .task import read_records
from .task_events import TaskEvents

#: Sweeps, one a second, for which a channel that nobody uses is kept: to open one costs a round
#: trip.
_IDLE_SWEEPS: Final = 60


class AgentChannel:
    """The channel of one agent, and who listens to it.

    Args:
        agent: The agent.
        name: The channel's name.
    """

    __slots__ = ("agent", "followed", "idle_sweeps", "instances", "name", "users")

    def __init__(self, agent: str, name: str) -> None:
        self.agent = agent
        self.name = name
        #: The agent's instances that are connected here, by their ids.
        self.instances: dict[str, ConnectedInstance] = {}
        #: The tasks that are followed here; one may be by several callers.
        self.followed: dict[str, list[TaskEvents]] = {}
        #: How many use it without being an instance or following a task yet.
        self.users = 0
        #: For how many sweeps nobody has used it.
        self.idle_sweeps = 0

    def follow(self, events: TaskEvents) -> None:
        """Hand on the events of a task."""
        self.followed.setdefault(events.task, []).append(events)

    def unfollow(self, events: TaskEvents) -> None:
        """Hand on no more of them; no effect the second time."""
        same_task = self.followed.get(events.task, [])
        if events in same_task:
            same_task.remove(events)
            if not same_task:
                del self.followed[events.task]

    def restore(self, instance: ConnectedInstance, former: ConnectedInstance | None) -> None:
        """Give the place of an instance that was not registered back to the one before it."""
        self.remove(instance)
        if former is not None:
            self.instances.setdefault(former.id, former)

    def remove(self, instance: ConnectedInstance) -> None:
        """Remove an instance, unless another connection is that instance by now."""
        if self.instances.get(instance.id) is instance:
            del self.instances[instance.id]

    def catch_up(self) -> None:
        """Read for all followed tasks what may have been missed."""
        for same_task in self.followed.values():
            for events in same_task:
                events.catch_up()

    def receive(self, data: bytes) -> None:
        """Hand on what came over the channel."""
        for words, body in read_records(data):
            if words[0] == "e":
                _, task, epoch, offset = words
                for events in self.followed.get(task, ()):
                    events.receive(epoch, int(offset), body)
            else:
                self._hand_on_order(words, body)

    def _hand_on_order(self, words: list[str], body: bytes) -> None:
        _, instance_id, task, attempt, verb, *number = words
        instance = self.instances.get(instance_id)
        if instance is None:
            return
        if verb == "moved":  # it has come back at another node
            self.remove(instance)
            instance.connection[REGISTRATION].instance = None
        elif verb == "unregistered":
            instance.lose_agent()
        else:
            instance.obey(task, int(attempt), verb, body, int(number[0]) if number else 0)


class AgentChannels:
    """All channels of one node.

    Args:
        keys: The keys of this node.
        topics: The node's topics, whose bus is used.
        on_gap: Called with a channel when something may have been missed.
    """

    def __init__(self, keys: Keys, topics: Topics, on_gap: Callable[[AgentChannel], None]) -> None:
        self._keys = keys
        self._topics = topics
        self._report_gap = on_gap
        self.by_agent: dict[str, AgentChannel] = {}

    @asynccontextmanager
    async def use(self, agent: str) -> AsyncIterator[AgentChannel]:
        """Open the channel of an agent, or use the one there is; it stays open meanwhile.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        channel = self.by_agent.get(agent)
        if channel is None:
            channel = self.by_agent[agent] = AgentChannel(agent, self._keys.agent_channel(agent))
        channel.users += 1
        channel.idle_sweeps = 0
        try:
            await self._topics.listen(channel.name, self._on_message, self._on_gap)
            yield channel
        finally:
            channel.users -= 1

    def close_idle(self) -> None:
        """Count a sweep, and close the channels that nobody has used for long."""
        for channel in list(self.by_agent.values()):
            if channel.instances or channel.followed or channel.users:
                channel.idle_sweeps = 0
                continue
            channel.idle_sweeps += 1
            if channel.idle_sweeps > _IDLE_SWEEPS:
                del self.by_agent[channel.agent]
                self._topics.stop_listening(channel.name)

    def _on_message(self, name: bytes, data: bytes) -> None:
        channel = self.by_agent.get(self._keys.agent_of(name))
        if channel is not None:
            channel.receive(data)

    def _on_gap(self, name: bytes) -> None:
        channel = self.by_agent.get(self._keys.agent_of(name))
        if channel is not None:
            self._report_gap(channel)
