"""The names of all Redis keys and channels: the one place that knows their parts.

What braces enclose is the key's hash tag, by which a Redis Cluster places it: all of a node's keys
share a slot, so that one script call may touch thousands of them.

| key | type | what it holds | lives for |
|---|---|---|---|
| ``<prefix>:{<node>}:conn:<id>`` | hash | one connection | the TTL |
| ``<prefix>:{<node>}:node`` | hash | the node itself; gone means dead | the TTL |
| ``<prefix>:{<node>}:conns`` | hash | connection id -> user, of all that the node holds | longer |
| ``<prefix>:{<node>}:reaped`` | string | others have taken the node for dead | longer |
| ``<prefix>:{<node>}:probe`` | string | written to see whether Redis takes writes | a millisecond |
| ``<prefix>:{u:<user>}:conns`` | sorted set | ``<node>/<id>`` by when it expires, ms | the TTL |
| ``<prefix>:{u:<user>}:agents`` | sorted set | the user's agents, as below | ``agents.remember`` |
| ``<prefix>:{anonymous}:agents`` | sorted set | the same of all anonymous clients | as that |
| ``<prefix>:{u:<user>}:share`` | hash | what the user keeps here, see `store.shares` | as that |
| ``<prefix>:{ip:<address>}:share`` | hash | the same of an address's anonymous clients | as that |
| ``<prefix>:nodes`` | sorted set | node -> its last heartbeat, ms | longer |
| ``<prefix>:ticket:<sha256>`` | string | whom a one-time ticket lets in | ``api.ticket_ttl`` |
| ``<prefix>:{revoked}`` | sorted set | revocations in their order | as long as the longest |
| ``<prefix>:{revoked}:until`` | sorted set | the same by their ends, ms | as long as the longest |

The keys of a topic start with ``<prefix>:{t:<topic>}``, which is also the name of its channel.
Channels are of sharded pub/sub, which a server without a Cluster has as well.

| key | type | what it holds | lives for |
|---|---|---|---|
| ``...:meta`` | hash | epoch and offset, and the server process that counts | its family's ttl |
| ``...:log`` | stream | events, by offset | its family's ttl |
| ``...:once:<key>`` | string | the position of a publication with a key | 10 minutes |
| ``...:nodes`` | sorted set | nodes with members by when they expire, ms | twice the TTL |
| ``...:here:<node>`` | hash | a node's members -> their connections | twice the TTL |
| ``...:who`` | hash | all members -> their connections | twice the TTL |
| ``...:info`` | hash | all members -> what others see of them | twice the TTL |

The keys of an agent start with ``<prefix>:{a:<agent>}``; those of its tasks and of their topics do
as well, so that one script call moves a task and tells everyone.

| key | type | what it holds | lives for |
|---|---|---|---|
| ``<prefix>:agents`` | sorted set | agents by when they were last there, ms | ``agents.remember`` |
| ``...:skills`` | hash | skill -> its digest and definition | ``agents.remember`` |
| ``...:owner`` | string | whose it is; empty for the anonymous | ``agents.remember``, the tasks |
| ``...:i:<instance>`` | hash | an instance: its node, user, capacity, skills | ``agents.ttl`` |
| ``...:leases`` | sorted set | instances by when their lease ends, ms | ``agents.ttl`` |
| ``...:free:<skill>`` | sorted set | instances that can take more, by their load | ``agents.ttl`` |
| ``...:work:<skill>`` | stream | tasks that wait or are under way; group ``agents`` | the tasks |
| ``...:meta`` | hash | how many tasks wait | the tasks |
| ``...:callers`` | hash | callers -> how many of their tasks wait | the tasks |
| ``...:due`` | sorted set | tasks by when something is due, ms | the tasks |
| ``...:task:<id>`` | hash | a task | its deadline and ``agents.ttl`` |
| ``...:once:<key>`` | string | the task that was called for with a key | the task |
| ``...:t:<id>:meta``, ``:log`` | | the topic of a task, as any topic's | the task |
| ``...:n:<node>`` | channel | what a node has to know of tasks | |
"""

import re
from typing import Final, NamedTuple
from urllib.parse import quote

from jackfield.wire.agent_limits import AGENT_NAME

#: The keys and channels that scripts make too, as templates, by what scripts call them; ``$agent``
#: is `Keys.agent`, ``$topic`` is `TopicKeys.channel`.
TEMPLATES: Final = {
    "topic_meta_key": "$topic:meta",
    "topic_log_key": "$topic:log",
    "topic_here_key": "$topic:here:$node",
    "agent_meta_key": "$agent:meta",
    "agent_skills_key": "$agent:skills",
    "agent_owner_key": "$agent:owner",
    "agent_callers_key": "$agent:callers",
    "instance_key": "$agent:i:$instance",
    "leases_key": "$agent:leases",
    "free_key": "$agent:free:$skill",
    "work_key": "$agent:work:$skill",
    "due_key": "$agent:due",
    "task_key": "$agent:task:$task",
    "task_once_key": "$agent:once:$key",
    "task_channel": "$agent:t:$task",
    "node_channel": "$agent:n:$node",
}

#: A brace would end the hash tag, a colon could make a user's key of a node's (``u:alice``), and a
#: slash is what `Keys.member` puts behind the node.
_NODE: Final = re.compile(r"[A-Za-z0-9._-]+")

#: The topic of a task. Its keys are the agent's, so the name must be one that an agent can have.
_TASK: Final = re.compile(rf"task:(({AGENT_NAME})\.[A-Za-z0-9_-]+)")

#: The same templates as `str.format_map` reads them, in a tenth of the time.
_FORMATS: Final = {
    name: re.sub(r"\$(\w+)", r"{\1}", template) for name, template in TEMPLATES.items()
}


class TopicKeys(NamedTuple):
    """The keys of one topic, all of one slot, and its channel."""

    channel: str
    meta: str
    log: str
    nodes: str
    who: str
    info: str

    def once(self, key: str) -> str:
        """The string that remembers a publication by its idempotency key."""
        return f"{self.channel}:once:{quote(key, safe='')}"


class Keys:
    """The keys of one node, and those that all nodes share.

    Args:
        prefix: What every key starts with.
        node: The id of the node: ASCII letters, digits, dots, dashes, underscores.

    Raises:
        ValueError: The prefix or the node has a character that it must not have.
    """

    __slots__ = (
        "_connection",
        "agents",
        "connections",
        "node",
        "node_id",
        "nodes",
        "prefix",
        "reaped",
        "revoked",
        "revoked_until",
    )

    def __init__(self, prefix: str, node: str) -> None:
        if "{" in prefix or "}" in prefix:
            raise ValueError(f"the prefix {prefix!r} has a brace: it would change the hash tags")
        if not _NODE.fullmatch(node):
            raise ValueError(f"the node id {node!r} must be letters, digits, '.', '-' and '_'")
        self.prefix = prefix
        self.node_id = node
        #: The sorted set of all nodes.
        self.nodes = f"{prefix}:nodes"
        #: The sorted set of all agents.
        self.agents = f"{prefix}:agents"
        #: The hash of this node.
        self.node = f"{prefix}:{{{node}}}:node"
        #: The hash of the ids of what this node holds.
        self.connections = f"{prefix}:{{{node}}}:conns"
        #: The mark that a node was taken for dead.
        self.reaped = f"{prefix}:{{{node}}}:reaped"
        #: The sorted sets of what is revoked: by the order it came in, and by when that ends.
        self.revoked = f"{prefix}:{{revoked}}"
        self.revoked_until = f"{prefix}:{{revoked}}:until"
        self._connection = f"{prefix}:{{{node}}}:conn:"

    def of(self, node: str) -> "Keys":
        """The keys of another node."""
        return Keys(self.prefix, node)

    def connection(self, connection_id: str) -> str:
        """The hash of one of this node's connections."""
        return self._connection + connection_id

    def user_connections(self, user: str) -> str:
        """The sorted set of a user's connections on all nodes.

        A user's id may hold any character: what could end the hash tag or split the key is
        percent-encoded (RFC 3986, section 2.1), so no two users share a key.
        """
        return f"{self.prefix}:{{u:{quote(user, safe='')}}}:conns"

    def user_agents(self, user: str) -> str:
        """The sorted set of the agents that a user has registered; "" for the anonymous."""
        owner = f"u:{quote(user, safe='')}" if user else "anonymous"
        return f"{self.prefix}:{{{owner}}}:agents"

    def share(self, name: str) -> str:
        """The hash of what a user or an address keeps.

        Args:
            name: ``u:`` and the user's id, or ``ip:`` and the address.
        """
        kind, _, owner = name.partition(":")
        return f"{self.prefix}:{{{kind}:{quote(owner, safe='')}}}:share"

    def ticket(self, digest: str) -> str:
        """A one-time ticket, by its digest."""
        return f"{self.prefix}:ticket:{digest}"

    @property
    def write_probe(self) -> str:
        """The string that is written to find out whether Redis takes writes."""
        return f"{self.prefix}:{{{self.node_id}}}:probe"

    def probe_channel(self, number: int) -> str:
        """A channel for this node's probes; each number is of another slot."""
        return f"{self.prefix}:{{probe:{self.node_id}:{number}}}"

    def agent(self, name: str) -> str:
        """What all keys of an agent start with, and of its tasks; they are of one slot."""
        return f"{self.prefix}:{{a:{name}}}"

    def agent_owner(self, name: str) -> str:
        """The string that says whose an agent is."""
        return _filled("agent_owner_key", agent=self.agent(name))

    def agent_channel(self, name: str) -> str:
        """The channel on which this node learns what becomes of an agent's tasks."""
        return _filled("node_channel", agent=self.agent(name), node=self.node_id)

    @staticmethod
    def agent_of(channel: bytes) -> str:
        """The agent of such a channel, which stands in its hash tag."""
        return str(channel[channel.index(b"{a:") + 3 : channel.index(b"}")], "ascii")

    def task(self, agent: str, task: str) -> str:
        """The hash of a task."""
        return _filled("task_key", agent=self.agent(agent), task=task)

    def topic(self, topic: str) -> TopicKeys:
        """The keys of a topic.

        Who uses them more than once keeps them: `Topics` knows those that are published to.
        """
        task = _TASK.fullmatch(topic)
        if task is None:
            channel = f"{self.prefix}:{{t:{quote(topic, safe=':')}}}"
        else:
            channel = _filled("task_channel", agent=self.agent(task[2]), task=task[1])
        return TopicKeys(
            channel=channel,
            meta=_filled("topic_meta_key", topic=channel),
            log=_filled("topic_log_key", topic=channel),
            nodes=f"{channel}:nodes",
            who=f"{channel}:who",
            info=f"{channel}:info",
        )

    def member(self, connection_id: str) -> str:
        """How a connection of this node stands in a user's sorted set."""
        return f"{self.node_id}/{connection_id}"


def _filled(name: str, **holes: str) -> str:
    return _FORMATS[name].format_map(holes)
