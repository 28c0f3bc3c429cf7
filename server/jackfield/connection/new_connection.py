"""A connection that is about to be opened: what is written to Redis before the upgrade."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class NewConnection:
    """A connection that is about to be opened, as it is written to Redis.

    Attributes:
        id: Unique among all nodes.
        user: Its user; None if anonymous.
        remote: The client's address.
        connected_at: When it was made, in seconds since the epoch.
        fields: What plugins keep with it, by ``<plugin>.<name>``.
    """

    id: str
    user: str | None
    remote: str
    connected_at: float = field(default_factory=time.time)
    fields: dict[str, bytes] = field(default_factory=dict)
