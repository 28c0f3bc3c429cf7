"""What keeps one plugin from taking all there is: so many of its handlers at once."""

from jackfield.wire.errors import Error

#: Seconds: a plugin that is full is busy with what takes longer than a moment.
_RETRY_AFTER = 1.0


class Bulkhead:
    """The places that the handlers of one plugin have on a node.

    Args:
        places: How many.
    """

    __slots__ = ("_free",)

    def __init__(self, places: int) -> None:
        self._free = places

    def enter(self) -> None:
        """Take a place, to be given back by `leave`.

        Raises:
            Error: ``rate_limited``: there is none.
        """
        if not self._free:
            raise Error(
                "rate_limited", "The server is busy with others of this.", retry_after=_RETRY_AFTER
            )
        self._free -= 1

    def leave(self) -> None:
        """Give a place back; on the event loop's thread, like `enter`."""
        self._free += 1
