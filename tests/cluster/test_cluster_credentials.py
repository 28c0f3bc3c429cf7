"""Tickets and revocations on a Cluster, where each ticket is of its own slot."""

from jackfield.redis.client import RedisClient
from jackfield.store.keys import Keys
from jackfield.store.revocations import RevocationStore
from jackfield.store.tickets import TicketStore
from tests.support.waiting import wait_until


async def test_tickets_of_many_slots_are_each_taken_once(client: RedisClient, name: str) -> None:
    one, other = (TicketStore(client, Keys(name, node)) for node in ("one", "other"))
    tickets = [f"ticket {number}" for number in range(50)]
    for ticket in tickets:
        await one.write(ticket, {"user": ticket}, 60)
    for ticket in tickets:
        granted = await other.take(ticket)
        assert granted is not None
        assert granted["user"] == ticket
        assert granted["issued_at"] > 1_700_000_000
        assert await one.take(ticket) is None


async def test_every_node_reads_what_was_revoked_and_nothing_twice(
    client: RedisClient, name: str
) -> None:
    one, other = (RevocationStore(client, Keys(name, node)) for node in ("one", "other"))
    await one.add(["user alice", "token t 1"], 60)
    news = await other.read(0)
    assert {entry.target for entry in news.entries} == {"user alice", "token t 1"}
    for entry in news.entries:
        assert abs(entry.until - entry.since - 60) < 0.01
    assert (await other.read(news.newest)).entries == []
    # Two of one millisecond are of one call, or have different scores.
    for number in range(50):
        await one.add([f"user {number}"], 60)
        more = await other.read(news.newest)
        assert [entry.target for entry in more.entries] == [f"user {number}"]
        news = more


async def test_what_had_gone_is_entered_again_and_what_has_ended_is_dropped(
    client: RedisClient, name: str
) -> None:
    keys = Keys(name, "one")
    store = RevocationStore(client, keys)
    await store.add(["user alice"], 60)
    await store.add(["user bob"], 0.001)
    known = await store.read(0)
    await client.execute("DEL", keys.revoked)
    await client.execute("DEL", keys.revoked_until)
    gone = await store.read(known.newest)
    assert gone.newest == 0
    await store.restore(known.entries)
    again = await store.read(0)
    assert [entry for entry in again.entries if entry.target == "user alice"] == [
        entry for entry in known.entries if entry.target == "user alice"
    ]
    await store.add(["user carol"], 60)

    async def has_dropped_bob() -> bool:  # whose millisecond may not be over yet
        await store.add([], 60)
        return bool(await client.execute("ZCARD", keys.revoked) == 2)

    await wait_until(has_dropped_bob)
    assert await client.execute("ZCARD", keys.revoked_until) == 2
