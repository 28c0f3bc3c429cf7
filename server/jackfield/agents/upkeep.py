"""`Upkeep`: renew leases, read what was missed, and end what is due, for the agents of one node."""

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

#: Seconds between two sweeps for what is due: one call for each agent, however many tasks wait.
_SWEEP_INTERVAL: Final = 1.0
#: Sweeps between two of all agents, those this node has nothing to do with too: the nodes that had
#: may have died.
_SWEEPS_OF_ALL: Final = 10
#: Renewals in the time of a lease: two may be lost.
_RENEWALS: Final = 3
#: Topics of one call. Redis does one in 8 us, and nothing else meanwhile.
_BATCH: Final = 250


class Upkeep:
    """The upkeep of one node's agents.

    Args:
        store: The agents in Redis.
        topics: The topics in Redis.
        channels: The node's channels.
        lease: Seconds that an instance keeps its tasks without a renewal.
    """

    def __init__(
        self, store: AgentStore, topics: TopicStore, channels: AgentChannels, lease: float
    ) -> None:
        self._store = store
        self._topics = topics
        self._channels = channels
        self._lease = lease

    async def run(self) -> None:
        """Sweep and renew until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep_for_ever())
            tasks.create_task(self._renew_for_ever())

    async def _sweep_for_ever(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL)
            turn += 1
            try:
                await self.sweep(everyone=turn % _SWEEPS_OF_ALL == 0)
            except Error:  # Redis is away; the heartbeat says so
                continue
            except Exception:  # noqa: BLE001 - what is due must be done, whatever came of this time
                _log.exception("a sweep for due tasks failed")

    async def sweep(self, *, everyone: bool) -> None:
        """End what is due, and close channels that nobody uses.

        Args:
            everyone: Whether of all agents, or only of those that this node has to do with.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        self._channels.close_idle()
        names = set(self._channels.by_agent)
        if everyone:
            names.update(await self._store.agents())
        await self._store.sweep(names)

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._lease / _RENEWALS)
            for channel in list(self._channels.by_agent.values()):
                await self.renew(channel)

    async def renew(self, channel: AgentChannel) -> None:
        """Renew the leases of an agent's instances, and read what was missed; log what fails."""
        try:
            instances = list(channel.instances.values())
            if instances:
                found = await self._store.refresh(
                    channel.agent,
                    [each.id for each in instances],
                    {each.connection.user or "" for each in instances},
                )
                for instance, tasks in zip(instances, found, strict=True):
                    await self._reconcile(channel, instance, tasks)
            await self._check_followed(channel)
        except Error:  # Redis is away; the next renewal does it
            return
        except Exception:  # noqa: BLE001 - the others' leases are to be renewed all the same
            _log.exception("an agent's lease was not renewed", agent=channel.agent)

    async def _check_followed(self, channel: AgentChannel) -> None:
        """Have the events of followed tasks compared with where their topics stand."""
        followed = [events for same_task in channel.followed.values() for events in same_task]
        for start in range(0, len(followed), _BATCH):
            batch = followed[start : start + _BATCH]
            positions = await self._topics.refresh([events.stored for events in batch])
            for events, position in zip(batch, positions, strict=True):
                events.compare(position)

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
        """Tell whether a task has come to an instance since its tasks were read."""
        fields = await self._store.read_task(task)
        state = str(fields.get("state", b""), "ascii")
        return fields.get("instance") == instance.id.encode() and state not in ENDED
