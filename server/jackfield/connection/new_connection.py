"""`NewConnection`: what is written to Redis of a connection, before its request is upgraded."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class NewConnection:
    """A connection as it is first written to Redis.

    Attributes:
        id: Unique among all nodes.
        user: The user's id; None if anonymous.
        remote: The client's address.
        connected_at: When it was made, in seconds since the epoch.
        fields: The fields that plugins keep with it, by ``<plugin>.<name>``, encoded.
    """

    id: str
    user: str | None
    remote: str
    connected_at: float = field(default_factory=time.time)
    fields: dict[str, bytes] = field(default_factory=dict)
