"""Requests that do not finish at once: they get a timer, and their connection a second reader.

Most handlers are done before the event loop turns. Giving each of them a timer for its timeout
would cost more than decoding its message. So a new request is only noted; those still running at
the next look, a moment later, are *slow*: from then on a timer holds them to their timeout, and
their connection is told, so that it can read on.
"""

import asyncio
from typing import Final

from jackfield.connection.request import Request
from jackfield.connection.running import MessageOptions

#: Seconds between looks. Long enough that fast handlers never meet it, short enough that a client
#: does not notice how late its `request.cancel` is read; a timeout passes this much late at most.
INTERVAL: Final = 0.05


class SlowRequests:
    """The requests of one process that have begun, until it is known whether they are slow."""

    def __init__(self) -> None:
        #: Kept for those on a message's path: asking asyncio for it costs a system call there.
        self.loop = asyncio.get_running_loop()
        self._new: list[Request[MessageOptions]] = []
        self._timer: asyncio.TimerHandle | None = None

    def note(self, request: Request[MessageOptions]) -> None:
        """Look after a request that has just begun."""
        self._new.append(request)
        if self._timer is None:
            self._timer = self.loop.call_later(INTERVAL, self._look)

    def _look(self) -> None:
        self._timer = None
        noted, self._new = self._new, []
        for request in noted:
            if not request.done:
                request.start_timeout()
                request.connection.reader.read_on(request)

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
        self._new.clear()
