"""The watchdog of the event loop: when it does not turn, say which handler holds it, and where.

A handler that computes for long, or waits without ``await``, holds up every client of the process,
and nothing it does itself would say so. So a thread looks on. On the loop there is only a tick, a
few times in `ServerSettings.blocked_after`: a message costs nothing.
"""

import asyncio
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, Self

import structlog

from .log import RateLimitedLog

#: Ticks in the time after which the loop counts as blocked; by one more it may be noticed late.
_TICKS: Final = 4
#: Seconds for which the longest lag is told: longer than usual between two scrapes of metrics.
_REMEMBERED: Final = 60.0
#: Of a stack, the innermost calls: the handler and what it calls, and how it came to be called.
_DEPTH: Final = 16
#: Reports a second, and at once: each is a page of text.
_REPORT_RATE: Final = 0.1
_REPORT_BURST: Final = 10


class Suspect(NamedTuple):
    """Whose code the loop runs.

    Attributes:
        plugin: The plugin; empty if it can't be told.
        type: The message type; empty for a hook.
        connection: The id of the connection whose message or hook it is.
    """

    plugin: str = ""
    type: str = ""
    connection: str = ""


#: Reads the suspect off the local variables of a function that is known to run plugins' code.
Reader = Callable[[Mapping[str, Any]], Suspect]


def of_request(variables: Mapping[str, Any]) -> Suspect:
    """Whose request it is that a function works on."""
    request = variables["request"]
    route = request.options
    return Suspect(route.runtime.plugin, route.type, request.connection.id)


def of_message(variables: Mapping[str, Any]) -> Suspect:
    """Whose message it is that a function decodes and validates."""
    route, connection = variables.get("route"), variables["connection"].id
    if route is None:
        return Suspect(connection=connection)
    return Suspect(route.runtime.plugin, route.type, connection)


def of_hook(variables: Mapping[str, Any]) -> Suspect:
    """Whose hook it is that a function runs."""
    return Suspect(variables["plugin"], connection=variables["connection"].id)


class Watchdog:
    """Watches an event loop from a thread of its own; a context manager, entered on the loop.

    Args:
        blocked_after: Seconds that the loop may take for one turn; 0 to watch nothing.
        readers: The functions that run plugins' code, and what tells whose.
    """

    def __init__(self, blocked_after: float, readers: Mapping[CodeType, Reader]) -> None:
        self._blocked_after = blocked_after
        self._readers = readers
        self._interval = blocked_after / _TICKS
        self._log = RateLimitedLog(
            structlog.get_logger("jackfield"), rate=_REPORT_RATE, burst=_REPORT_BURST
        )
        self._thread: threading.Thread | None = None
        self._watched = 0
        self._stop = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        #: When the next tick is due, on the monotonic clock.
        self._due = 0.0
        #: The longest lags, of this period and of the one before it, and when this one began.
        self._lag = self._lag_before = self._lag_since = 0.0
        #: How often whose code has held the loop: plugin and message type, empty if not known.
        self.blocked: Counter[tuple[str, str]] = Counter({("", ""): 0})

    def __enter__(self) -> Self:
        if self._blocked_after:
            self._watched = threading.get_ident()
            self._due = self._lag_since = time.monotonic()
            self._tick()
            self._thread = threading.Thread(
                target=self._look_on, name="jackfield-watchdog", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join()

    @property
    def lag(self) -> float:
        """The longest that the loop has been late in the last minute or two, in seconds."""
        return max(self._lag, self._lag_before)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._lag_since > _REMEMBERED:
            self._lag_before, self._lag, self._lag_since = self._lag, 0.0, now
        self._lag = max(self._lag, now - self._due)
        self._due = now + self._interval
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def _look_on(self) -> None:
        reported = 0.0
        while not self._stop.wait(self._interval):
            due = self._due
            if due != reported and time.monotonic() - due > self._blocked_after:
                reported = due
                self._report()

    def _report(self) -> None:
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - documented, for debugging
        if frame is None:  # the thread has ended
            return
        suspect = self._suspect(frame)
        self.blocked[suspect.plugin, suspect.type] += 1
        stack = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_DEPTH)
        stack.reverse()
        self._log.warning(
            "the event loop is blocked: every client waits",
            seconds=self._blocked_after,
            **{name: value or None for name, value in suspect._asdict().items()},
            stack="".join(stack.format()).rstrip("\n"),
        )

    def _suspect(self, frame: FrameType | None) -> Suspect:
        """Whose code runs, by the innermost function that is known to run some."""
        while frame is not None:
            if (read := self._readers.get(frame.f_code)) is not None:
                return read(frame.f_locals)
            frame = frame.f_back
        return Suspect()
