"""Where in a topic an event stands."""

from typing import NamedTuple


class Position(NamedTuple):
    """Where in a topic an event stands.

    Attributes:
        epoch: Which life of the topic: offsets of two epochs can't be compared.
        offset: Its number, one more than that of the event before it.
    """

    epoch: str
    offset: int
