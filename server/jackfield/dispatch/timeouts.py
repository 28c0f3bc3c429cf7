"""`SlowRequests`: start the timeout of requests that do not end at once, and have others read.

Most handlers end before the event loop turns. A timer for the timeout of each would cost more than
decoding its message. So a new request is only put on a list; those still running at the next check,
a moment later, are *slow*: they get a timer, and their connection's reader is told to read on.
"""

import asyncio
from typing import Final

from jackfield.connection.request import Request
from jackfield.connection.running import MessageOptions

#: Seconds between checks. Long enough that fast handlers have ended, short enough that a client
#: does not notice how late its `request.cancel` is read; a timeout comes this much late at most.
CHECK_INTERVAL: Final = 0.05


class SlowRequests:
    """The running requests of one process that have yet to be checked."""

    def __init__(self) -> None:
        #: Kept, as asking asyncio for it costs a system call for each message.
        self.loop = asyncio.get_running_loop()
        self._new: list[Request[MessageOptions]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, request: Request[MessageOptions]) -> None:
        """Check a request that has just begun, at the next check."""
        self._new.append(request)
        if self._timer is None:
            self._timer = self.loop.call_later(CHECK_INTERVAL, self._check)

    def _check(self) -> None:
        self._timer = None
        noted, self._new = self._new, []
        for request in noted:
            if not request.done:
                request.start_timeout()
                request.connection.reader.keep_reading(request)

    def close(self) -> None:
        """Stop checking."""
        if self._timer is not None:
            self._timer.cancel()
        self._new.clear()
