"""What can go wrong for a user of the Python client."""

from collections.abc import Mapping
from typing import Any, Final

#: Close codes that the next connection would meet as well (RFC 6455, section 7.4.1): the normal
#: end, and messages that one of the two sides cannot take.
FINAL_CODES: Final = frozenset({1000, 1002, 1003, 1007, 1008, 1009, 1010})
#: HTTP statuses of a refusal that passes: too many requests, and a server behind a proxy that is
#: away or overloaded (RFC 6585, section 4; RFC 9110, section 15.6). None is no answer at all.
PASSING_STATUSES: Final = frozenset({None, 429, 502, 503, 504})
#: Close codes from here to 4999 are the protocol's way to say: do not come again.
DO_NOT_RECONNECT: Final = 4500


class ConnectionFailed(Exception):  # noqa: N818 - it names what happened
    """There is no connection: the server was not reached, or refused.

    Attributes:
        status: The HTTP status of a refusal, None where there was no answer.
        message: A sentence for a person.
        retry_after: Seconds to wait before the next attempt, if the server named them.
        reconnect: Whether another attempt may fare better.
    """

    def __init__(
        self,
        status: int | None,
        message: str,
        retry_after: float | None = None,
        *,
        reconnect: bool | None = None,
    ) -> None:
        super().__init__(status, message, retry_after)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.reconnect = status in PASSING_STATUSES if reconnect is None else reconnect

    def __str__(self) -> str:
        return self.message if self.status is None else f"{self.message} (HTTP {self.status})"


class ConnectionClosed(Exception):  # noqa: N818 - it names what happened
    """The connection has ended; nothing more will come or go.

    Attributes:
        code: The WebSocket close code: 1005 if the server gave none, 1006 if the line was lost.
        reason: The server's words, or the client's own.
        reconnect: Whether to connect again: what the server said, else what the code means.
        after: Seconds to wait before that, if the server named them.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        *,
        reconnect: bool | None = None,
        after: float | None = None,
    ) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        if reconnect is None:
            reconnect = code < DO_NOT_RECONNECT and code not in FINAL_CODES
        self.reconnect = reconnect
        self.after = after

    def __str__(self) -> str:
        return f"The connection is closed: {self.reason or 'no reason given'} ({self.code})."


class RequestError(Exception):
    """The server answered with an error.

    Args:
        error: The error object, as it stands on the wire.

    Attributes:
        code: What programs switch on (``invalid_payload``, ``chat.room_full``).
        message: A sentence for a person.
        retryable: Whether the same message may succeed later.
        fields: What is wrong with which value: objects of ``pointer``, ``code`` and ``message``.
        incident: What the server's log calls it, if the fault is the server's.
        extra: The other keys of the error, such as ``retry_after`` (seconds).
    """

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error)
        self.extra = dict(error)
        self.code: str = self.extra.pop("code")
        self.message: str = self.extra.pop("message")
        self.retryable: bool = self.extra.pop("retryable", False)
        self.fields: list[dict[str, str]] = self.extra.pop("fields", [])
        self.incident: str | None = self.extra.pop("incident", None)

    def __str__(self) -> str:
        incident = f" (incident {self.incident})" if self.incident else ""
        fields = [f"  {f['pointer']}: {f['message']} ({f['code']})" for f in self.fields]
        return "\n".join([f"{self.code}: {self.message}{incident}", *fields])


class EventsLost(Exception):  # noqa: N818 - it names what happened
    """Events came faster than they were read, and some were dropped at this point.

    `Client.events` can be called again and goes on after the gap. What a topic keeps of them is
    had by subscribing with `since`.

    Attributes:
        count: How many were dropped.
    """

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count

    def __str__(self) -> str:
        return f"{self.count} events came faster than they were read, and were dropped."


class StreamBroken(Exception):  # noqa: N818 - it names what happened
    """A stream has lost chunks: what was read of it is good, and there is no more of it."""


def retry_after(error: Exception) -> float | None:
    """Seconds that the server wants to be left alone; None if there is nothing to wait for."""
    match error:
        case ConnectionFailed(reconnect=True, retry_after=after):
            return after or 0
        case ConnectionClosed(reconnect=True, after=after):
            return after or 0
        case RequestError(retryable=True, extra=extra):
            return extra.get("retry_after") or 0
        case TimeoutError():
            return 0
    return None
