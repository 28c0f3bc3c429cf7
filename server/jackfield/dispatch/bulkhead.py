"""`Bulkhead`: bound how many handlers of one plugin run at once, so that the others can run."""

from jackfield.wire.errors import Error

#: Seconds: the handlers of a plugin at its limit take longer than a moment.
_RETRY_AFTER = 1.0


class Bulkhead:
    """The limit on the running handlers of one plugin on a node.

    Args:
        limit: How many may run at once.
    """

    __slots__ = ("_free",)

    def __init__(self, limit: int) -> None:
        self._free = limit

    def acquire(self) -> None:
        """Count a handler as running, until `release`.

        Raises:
            Error: ``rate_limited``: as many are running as may be.
        """
        if not self._free:
            raise Error(
                "rate_limited", "The server is busy with others of this.", retry_after=_RETRY_AFTER
            )
        self._free -= 1

    def release(self) -> None:
        """Count a handler as ended; on the event loop's thread, like `acquire`."""
        self._free += 1
