"""What a node does for agents unasked: leases, missed orders and events, and what is due."""

import asyncio
from typing import Final

import structlog

from jackfield.store.agents import AgentStore
from jackfield.store.tasks import HeldTask
from jackfield.store.topics import TopicStore
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error

from .channels import AgentChannel, AgentChannels
from .instance import ConnectedInstance
from .task import ENDED

_log = structlog.get_logger("jackfield")

#: Seconds between two looks for what is due: one call for each agent, however many tasks wait.
_SWEEP: Final = 1.0
#: Sweeps between two looks at agents that this node has nothing to do with: others may have died.
_SWEEPS_OF_ALL: Final = 10
#: A third of the lease passes between two signs of life: two may be lost.
_BEATS: Final = 3
#: Topics of one look. Redis does one in 8 us, and nothing else meanwhile.
_BATCH: Final = 250


class Upkeep:
    """The upkeep of one node's agents.

    Args:
        store: The agents in Redis.
        topics: The topics in Redis.
        lines: The node's lines.
        lease: Seconds that an instance keeps its tasks without a sign of life.
    """

    def __init__(
        self, store: AgentStore, topics: TopicStore, channels: AgentChannels, lease: float
    ) -> None:
        self._store = store
        self._topics = topics
        self._channels = channels
        self._lease = lease

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep_for_ever())
            tasks.create_task(self._beat_for_ever())

    async def _sweep_for_ever(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(_SWEEP)
            turn += 1
            try:
                await self._sweep(everyone=turn % _SWEEPS_OF_ALL == 0)
            except Error:  # Redis is away; the heartbeat says so
                continue
            except Exception:  # noqa: BLE001 - what is due must be done, whatever came of this time
                _log.exception("a look for due tasks failed")

    async def _sweep(self, *, everyone: bool) -> None:
        self._channels.close_idle()
        names = set(self._channels.by_agent)
        if everyone:
            names.update(await self._store.agents())
        await self._store.sweep(names)

    async def _beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._lease / _BEATS)
            for channel in list(self._channels.by_agent.values()):
                await self.beat(channel)

    async def beat(self, channel: AgentChannel) -> None:
        """Renew the leases of an agent's instances, and make up for what was missed."""
        try:
            instances = list(channel.instances.values())
            if instances:
                found = await self._store.refresh(channel.agent, [each.id for each in instances])
                for instance, tasks in zip(instances, found, strict=True):
                    await self._reconcile(channel, instance, tasks)
            await self._look_at_calls(channel)
        except Error:  # Redis is away; the next beat does it
            return
        except Exception:  # noqa: BLE001 - the others' leases are to be renewed all the same
            _log.exception("an agent's lease was not renewed", agent=channel.agent)

    async def _look_at_calls(self, channel: AgentChannel) -> None:
        calls = [call for calls in channel.calls.values() for call in calls]
        for start in range(0, len(calls), _BATCH):
            batch = calls[start : start + _BATCH]
            positions = await self._topics.refresh([call.place for call in batch])
            for call, position in zip(batch, positions, strict=True):
                call.compare(position)

    async def _reconcile(
        self, channel: AgentChannel, instance: ConnectedInstance, tasks: list[HeldTask] | None
    ) -> None:
        """Make what an instance knows of its tasks what Redis knows of them."""
        if channel.instances.get(instance.id) is not instance:
            return
        if tasks is None:
            # It was taken for dead, while Redis was away or this process stood still.
            for task in list(instance.tasks):
                instance.cancel(task)
            instance.connection.close(CloseCode.UNAVAILABLE)  # it registers anew
            return
        there = {held.task: held for held in tasks}
        for task, held in there.items():
            if instance.has_missed(held):
                await self._store.repeat_orders(task, instance=instance.id)
        for task in [task for task in instance.tasks if task not in there]:
            if not await self._has(instance, task):
                instance.cancel(task)

    async def _has(self, instance: ConnectedInstance, task: str) -> bool:
        """Whether a task came to an instance since it was looked."""
        fields = await self._store.read_task(task)
        state = str(fields.get("state", b""), "ascii")
        return fields.get("instance") == instance.id.encode() and state not in ENDED
