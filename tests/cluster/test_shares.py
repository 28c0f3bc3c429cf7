"""What clients keep is added up on a real Cluster, where each user's share has another slot."""

from jackfield.redis.client import RedisClient
from jackfield.redis.memory import MemoryWatch
from jackfield.store.keys import Keys
from jackfield.store.shares import ShareReport, ShareStore

KEPT = 2**20
NAMES = [f"u:user{number}" for number in range(30)]


async def report(store: ShareStore, held: int, charged: dict[int, float]) -> dict[str, float]:
    """Report the same of every share; what all nodes have charged of each."""
    totals = {}
    for names in store.batches(NAMES):
        reports = [ShareReport(name, KEPT, held, charged) for name in names]
        for name, total in zip(names, await store.reconcile(reports), strict=True):
            totals[name] = sum(total.levels.values()) + total.held_elsewhere
    return totals


async def test_nodes_add_up_shares_of_all_slots(client: RedisClient, name: str) -> None:
    one, two = (ShareStore(client, Keys(name, node), 10) for node in ("one", "two"))
    assert len(one.batches(NAMES)) > 1
    await report(one, 100, {4096: 1000})
    totals = await report(two, 0, {4096: 2000, 16: 500})
    assert set(totals) == set(NAMES)
    assert all(3300 < total <= 3600 for total in totals.values()), totals
    assert all(total <= 3500 for total in (await report(one, 0, {})).values())
    assert all(total <= 3500 for total in (await report(two, 0, {})).values())


async def test_the_memory_of_every_master_is_looked_at(client: RedisClient, name: str) -> None:
    infos = await client.execute_everywhere("INFO", "memory")
    assert len(infos) == 3
    memory = MemoryWatch(client, Keys(name, "one").write_probe)
    await memory.look()
    assert memory.used >= max(int(info["used_memory"]) for info in infos) * 0.5
    assert memory.refusal is None
