"""This node's channels: one for each agent that it has to do with, and who listens to it.

By it the node learns what becomes of the tasks of callers that are here, and gets the orders for
instances that are.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from jackfield.store.keys import Keys
from jackfield.topics.topics import Topics

from .call import Call
from .instance import REGISTRATION, ConnectedInstance
from .task import read_records

#: Looks at lines that nobody needs until they are given up; to make one costs a round trip.
_IDLE_LOOKS: Final = 60


class AgentChannel:
    """The channel of one agent, and who listens to it.

    Args:
        agent: The agent.
        name: The channel's name.
    """

    __slots__ = ("agent", "calls", "idle", "instances", "name", "users")

    def __init__(self, agent: str, name: str) -> None:
        self.agent = agent
        self.name = name
        self.instances: dict[str, ConnectedInstance] = {}
        self.calls: dict[str, list[Call]] = {}
        #: Looks since somebody needed it, and how many need it without listening yet.
        self.idle = 0
        self.users = 0

    def add(self, call: Call) -> None:
        """A call is followed."""
        self.calls.setdefault(call.task, []).append(call)

    def remove(self, call: Call) -> None:
        """A call is followed no more; no effect the second time."""
        calls = self.calls.get(call.task, [])
        if call in calls:
            calls.remove(call)
            if not calls:
                del self.calls[call.task]

    def restore(self, instance: ConnectedInstance, former: ConnectedInstance | None) -> None:
        """An instance that took the place of another was not to have it."""
        self.forget(instance)
        if former is not None:
            self.instances.setdefault(former.id, former)

    def forget(self, instance: ConnectedInstance) -> None:
        """An instance is here no more, unless another connection is that instance by now."""
        if self.instances.get(instance.id) is instance:
            del self.instances[instance.id]

    def look_again(self) -> None:
        """What calls have missed is to be read."""
        for calls in self.calls.values():
            for call in calls:
                call.look_again()

    def receive(self, data: bytes) -> None:
        """Hand on what came over the channel."""
        for words, body in read_records(data):
            if words[0] == "e":
                _, task, epoch, offset = words
                for call in self.calls.get(task, ()):
                    call.receive(epoch, int(offset), body)
            else:
                self._order(words, body)

    def _order(self, words: list[str], body: bytes) -> None:
        _, instance_id, task, attempt, verb, *number = words
        instance = self.instances.get(instance_id)
        if instance is None:
            return
        if verb == "moved":  # it has come back at another node
            self.forget(instance)
            instance.connection[REGISTRATION].instance = None
        else:
            instance.obey(task, int(attempt), verb, body, int(number[0]) if number else 0)


class AgentChannels:
    """All lines of one node.

    Args:
        keys: The keys of this node.
        topics: The node's topics, whose bus is used.
        on_gap: Called with a line when something may have been missed.
    """

    def __init__(self, keys: Keys, topics: Topics, on_gap: Callable[[AgentChannel], None]) -> None:
        self._keys = keys
        self._topics = topics
        self._tell_gap = on_gap
        self.by_agent: dict[str, AgentChannel] = {}

    @asynccontextmanager
    async def taken(self, agent: str) -> AsyncIterator[AgentChannel]:
        """The line of an agent, which listens at least until it is given back.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        channel = self.by_agent.get(agent)
        if channel is None:
            channel = self.by_agent[agent] = AgentChannel(agent, self._keys.agent_channel(agent))
        channel.users += 1
        channel.idle = 0
        try:
            await self._topics.listen(channel.name, self._on_message, self._on_gap)
            yield channel
        finally:
            channel.users -= 1

    def close_idle(self) -> None:
        """Give up lines that nobody has needed for long."""
        for channel in list(self.by_agent.values()):
            channel.idle = (
                0 if channel.instances or channel.calls or channel.users else channel.idle + 1
            )
            if channel.idle > _IDLE_LOOKS:
                del self.by_agent[channel.agent]
                self._topics.stop_listening(channel.name)

    def _on_message(self, name: bytes, data: bytes) -> None:
        channel = self.by_agent.get(self._keys.agent_of(name))
        if channel is not None:
            channel.receive(data)

    def _on_gap(self, name: bytes) -> None:
        channel = self.by_agent.get(self._keys.agent_of(name))
        if channel is not None:
            self._tell_gap(channel)
