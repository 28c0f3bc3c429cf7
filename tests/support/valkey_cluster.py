"""A Cluster of real Valkey processes, whose nodes a test may kill and whose slots it may move."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from redis.exceptions import RedisError

from tests.support.valkeys import (
    DOWN_AFTER,
    HOST,
    PATIENCE,
    Valkey,
    follows,
    free_port,
    spelled,
    until,
    working_directory,
)
from tests.support.waiting import wait_until

#: Hash slots of a Cluster, as its specification has them.
SLOTS: Final = 16_384


@dataclass(frozen=True)
class ValkeyCluster:
    """The nodes of a Cluster.

    Attributes:
        masters: Those that hold slots when it begins, in the order of their slots.
        replicas: The others; the replicas of a master are ``replicas_of`` it.
        url: ``redis+cluster://…``, with all nodes.
    """

    masters: list[Valkey]
    replicas: list[Valkey]
    url: str

    @property
    def nodes(self) -> list[Valkey]:
        """All of them, running or not."""
        return [*self.masters, *self.replicas]

    def replicas_of(self, master: Valkey) -> list[Valkey]:
        """The replicas that a master has when the Cluster begins."""
        return self.replicas[self.masters.index(master) :: len(self.masters)]

    def at(self, address: str) -> Valkey:
        """The node with an address, ``127.0.0.1:…``."""
        return next(node for node in self.nodes if node.address == address)

    async def owner(self, slot: int) -> Valkey:
        """The node that serves a slot, as a running node sees it."""
        asked = next(node for node in self.nodes if node.running)
        for first, last, master, *_ in await asked.ask("CLUSTER SLOTS"):
            if first <= slot <= last:
                return self.at(f"{master[0].decode()}:{master[1]}")
        raise LookupError(f"nobody serves slot {slot}")

    async def move_slot(self, slot: int, target: Valkey) -> None:
        """Give a slot with its keys to another master, as an operator would."""
        source = await self.owner(slot)
        source_id, target_id = await _identity(source), await _identity(target)
        await target.ask("CLUSTER SETSLOT", slot, "IMPORTING", source_id)
        await source.ask("CLUSTER SETSLOT", slot, "MIGRATING", target_id)
        while keys := await source.ask("CLUSTER GETKEYSINSLOT", slot, 100):
            assert target.port is not None
            await source.ask("MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source):
            await node.ask("CLUSTER SETSLOT", slot, "NODE", target_id)

    async def settled(self) -> None:
        """Wait until every running node sees a Cluster that serves all slots, with these masters.

        Raises:
            TimeoutError: It does not come to be.
        """
        await wait_until(self._is_settled, PATIENCE)

    async def _is_settled(self) -> bool:
        seen = []
        for node in self.nodes:
            if node.running:
                try:
                    info = await node.ask("CLUSTER INFO")
                    slots = await node.ask("CLUSTER SLOTS")
                except (RedisError, OSError):
                    return False
                if info["cluster_state"] != "ok":
                    return False
                seen.append(sorted((first, last, master[1]) for first, last, master, *_ in slots))
        ports = {node.port for node in self.nodes if node.running}
        return all(each == seen[0] and {port for *_, port in each} <= ports for each in seen)


@asynccontextmanager
async def valkey_cluster(
    masters: int = 3, replicas: int = 0, **options: object
) -> AsyncIterator[ValkeyCluster]:
    """Run a Cluster on the loopback interface.

    Args:
        masters: How many nodes share the slots; a failover takes three, of which most agree.
        replicas: How many each master has.
        **options: More of ``valkey.conf`` for all nodes, with underscores for dashes.
    """
    async with AsyncExitStack() as stack:
        nodes, buses = [], {}
        for _ in range(masters * (1 + replicas)):
            directory = stack.enter_context(working_directory())
            port, bus = free_port(), free_port()
            node = Valkey(
                directory,
                port,
                {
                    "cluster-enabled": "yes",
                    "cluster-port": bus,
                    "cluster-node-timeout": round(DOWN_AFTER * 1000),
                    # A replica takes over also if it was cut off for a while before.
                    "cluster-replica-validity-factor": 0,
                    "repl-diskless-sync-delay": 0,
                    **spelled(options),
                },
            )
            stack.callback(node.end)
            nodes.append(node)
            buses[node] = bus
        await asyncio.gather(*(node.start() for node in nodes))
        cluster = ValkeyCluster(
            nodes[:masters],
            nodes[masters:],
            f"redis+cluster://{','.join(node.address for node in nodes)}",
        )
        await _form(cluster, buses)
        yield cluster


async def _form(cluster: ValkeyCluster, buses: Mapping[Valkey, int]) -> None:
    count = len(cluster.masters)
    bounds = [SLOTS * number // count for number in range(count + 1)]
    for number, node in enumerate(cluster.nodes):
        await node.ask("CLUSTER SET-CONFIG-EPOCH", number + 1)
        if number < count:
            await node.ask("CLUSTER ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
    for node in cluster.nodes:
        for other in cluster.nodes:
            assert other.port is not None
            if other is not node:
                await node.ask("CLUSTER MEET", HOST, other.port, buses[other])
    await cluster.settled()
    for master in cluster.masters:
        for replica in cluster.replicas_of(master):
            await until(_knows, replica, await _identity(master))
            await replica.ask("CLUSTER REPLICATE", await _identity(master))
    for replica in cluster.replicas:
        await until(follows, replica)
    for node in cluster.nodes:
        await until(_sees_all, node, len(cluster.nodes) // count)


async def _identity(node: Valkey) -> str:
    return str(await node.ask("CLUSTER MYID"), "ascii")


async def _knows(node: Valkey, identity: str) -> bool:
    # redis-py makes a dict of the reply.
    nodes = await node.ask("CLUSTER NODES")
    return any(each["node_id"] == identity for each in nodes.values())


async def _sees_all(node: Valkey, per_shard: int) -> bool:
    return all(len(members) == per_shard for _, _, *members in await node.ask("CLUSTER SLOTS"))
