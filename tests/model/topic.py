"""What a topic must be: all that was published to it, under which key, and who is in it."""

from typing import Any, Final

Payload = dict[str, Any]

#: How many events the families of tests/support/rooms.py keep.
HISTORY: Final = {"room": 1000, "brief": 3}


class Topic:
    """A topic as the model has it.

    Args:
        name: Its name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        family = name.partition(":")[0]
        #: How many of its events are kept.
        self.history = HISTORY[family]
        #: Whether its members see each other.
        self.has_presence = family == "room"
        #: Which life of the topic this is: there is one only, as Valkey loses nothing.
        self.epoch: str | None = None
        self._events: dict[int, Payload] = {}
        self._keys: dict[str, tuple[int, Payload]] = {}

    @property
    def head(self) -> int:
        """The offset of the last event."""
        return len(self._events)

    @property
    def keys(self) -> list[str]:
        """The keys that publications had, the oldest first."""
        return list(self._keys)

    def event(self, offset: int) -> Payload:
        """What was published at an offset."""
        assert offset in self._events, f"{self.name} has event {offset}, and nobody published it"
        return self._events[offset]

    def under(self, key: str) -> Payload:
        """What was published under a key."""
        return self._keys[key][1]

    def saw(self, epoch: str) -> None:
        """Check an epoch that somebody was told."""
        self.epoch = self.epoch or epoch
        assert epoch == self.epoch, f"{self.name} has a new epoch, and nothing was lost"

    def published(self, reply: Payload, payload: Payload, key: str | None) -> None:
        """Take in where something was published; the same again is no further event."""
        self.saw(reply["epoch"])
        offset = reply["offset"]
        if key is not None and key in self._keys:
            before = self._keys[key][0]
            assert offset == before, f"{key} was published at {before} and again at {offset}"
            return
        assert offset not in self._events, (
            f"{payload} and {self._events[offset]} were both published at {offset}"
        )
        self._events[offset] = payload
        if key is not None:
            self._keys[key] = offset, payload

    def check(self) -> None:
        """Check that the offsets of all events follow one on the other."""
        assert sorted(self._events) == list(range(1, self.head + 1)), f"{self.name} has holes"
