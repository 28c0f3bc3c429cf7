"""What must be true of the servers and of Redis once nothing goes wrong any more."""

from collections.abc import Iterable

from jackfield.client import ConnectionClosed, ConnectionFailed, RequestError
from tests.support.followers import Follower
from tests.support.nodes import NodeProcess
from tests.support.valkeys import Valkey


async def knows_who_is_there(node: NodeProcess, followers: Iterable[Follower], topic: str) -> bool:
    """Whether a node says that just these are in a topic: all of them, and no ghosts."""
    try:
        async with node.connect() as client:
            presence = await client.request("topic.presence", {"topic": topic})
    except (ConnectionClosed, ConnectionFailed, RequestError):
        return False
    there = {member["connection"] for member in presence["members"]}
    return there == {follower.connection for follower in followers}


async def endless_keys(valkey: Valkey) -> list[str]:
    """The keys of Redis that have no TTL."""
    async with valkey.connect() as redis:
        keys = {key async for key in redis.scan_iter()}
        # A key that has gone by now has the TTL -2.
        return sorted([str(key, "utf-8") for key in keys if await redis.pttl(key) == -1])
