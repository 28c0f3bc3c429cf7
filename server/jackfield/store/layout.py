"""The version of what the keys in Redis hold, and which versions the nodes have that share them.

**Whoever changes a key, or what it holds, raises `LAYOUT`.** Nodes of several versions share a
Redis while a system is upgraded server by server. ``oldest`` is the version up to which a node can
work beside others: it is raised to the new version only if older nodes would read wrongly what a
newer one has written, or the other way round. Such an upgrade needs all servers stopped first.

| version | since then | oldest |
|---|---|---|
| 1 | nodes say nothing of it | 1 |
| 2 | shares; ``kept`` of a task; the layout of a node | 1 |
| 3 | owners of agents; agents of users; callers whose tasks wait | 1 |
"""

from typing import Final, NamedTuple

from jackfield.redis.client import RedisClient

from .keys import Keys


class Layout(NamedTuple):
    """A version of the layout.

    Attributes:
        version: The version.
        oldest: The oldest version that can be used beside it.
    """

    version: int
    oldest: int

    def fits(self, other: "Layout") -> bool:
        """Return whether nodes of both can share a Redis."""
        newer, older = max(self, other), min(self, other)
        return newer.oldest <= older.version


#: What this node reads and writes.
LAYOUT: Final = Layout(version=3, oldest=1)
#: What nodes have that say nothing of it.
_FIRST: Final = Layout(version=1, oldest=1)


class OtherNode(NamedTuple):
    """A node that shares this Redis.

    Attributes:
        id: Its id.
        host: The machine it runs on.
        version: Its version of Jackfield.
        layout: Its layout.
    """

    id: str
    host: str
    version: str
    layout: Layout


def layout_fields(layout: Layout) -> dict[str, int]:
    """Return the fields of a node's hash that say its layout."""
    return {"layout": layout.version, "oldest_layout": layout.oldest}


class OtherNodes:
    """The other nodes that share this Redis, each read once: its layout stays.

    Args:
        client: The client.
        keys: The keys of this node.
    """

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._known: dict[str, OtherNode] = {}

    async def read(self) -> list[OtherNode]:
        """Return those that are alive.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        members = await self._client.execute("ZRANGE", self._keys.nodes, 0, -1)
        ids = {str(member, "utf-8") for member in members} - {self._keys.node_id}
        self._known = {each: node for each, node in self._known.items() if each in ids}
        for each in ids - self._known.keys():
            fields = await self._client.execute("HGETALL", self._keys.of(each).node)
            if fields:  # else it is dead, and will be removed
                self._known[each] = _node(each, fields)
        return list(self._known.values())


def _node(node: str, fields: dict[bytes, bytes]) -> OtherNode:
    host, version = (str(fields.get(name, b""), "utf-8") for name in (b"host", b"version"))
    layout = Layout(
        int(fields.get(b"layout", _FIRST.version)), int(fields.get(b"oldest_layout", _FIRST.oldest))
    )
    return OtherNode(node, host, version, layout)
