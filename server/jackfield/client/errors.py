"""The exceptions of the Python client and the agent SDK."""

from collections.abc import Mapping
from typing import Any, Final

#: Close codes that the next connection would end with as well (RFC 6455, section 7.4.1): the normal
#: end, and messages that one of the two sides cannot take.
FINAL_CODES: Final = frozenset({1000, 1002, 1003, 1007, 1008, 1009, 1010})
#: HTTP statuses of a temporary refusal: too many requests, and a server behind a proxy that is
#: away or overloaded (RFC 6585, section 4; RFC 9110, section 15.6). None is no answer at all.
TEMPORARY_STATUSES: Final = frozenset({None, 429, 502, 503, 504})
#: Close codes from here to 4999 are those with which the protocol says not to reconnect.
DO_NOT_RECONNECT: Final = 4500


class JackfieldError(Exception):
    """The base class of all exceptions that the Python client and the agent SDK define."""


class ConnectionFailed(JackfieldError):  # noqa: N818 - it names what happened
    """The server was not reached, or refused the connection.

    Attributes:
        status: The HTTP status of a refusal, None where there was no answer.
        message: A sentence for a person.
        retry_after: Seconds to wait before the next attempt, if the server named them.
        reconnect: Whether another attempt may succeed.
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
        self.reconnect = status in TEMPORARY_STATUSES if reconnect is None else reconnect

    def __str__(self) -> str:
        return self.message if self.status is None else f"{self.message} (HTTP {self.status})"


class ConnectionClosed(JackfieldError):  # noqa: N818 - it names what happened
    """The connection has ended; no more messages are sent or received.

    Attributes:
        code: The WebSocket close code: 1005 if the server gave none, 1006 if the connection was
            lost.
        reason: Why it was closed, in the words of the side that closed it.
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


class RequestError(JackfieldError):
    """The server answered with an error.

    Args:
        error: The error object, as it stands on the wire.

    Attributes:
        code: What programs switch on (``invalid_payload``, ``chat.room_full``).
        message: A sentence for a person.
        retryable: Whether the same message may succeed later.
        fields: What is wrong with which value: objects of ``pointer``, ``code`` and ``message``.
        incident: The id of the fault in the server's log, if the fault is the server's.
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


class EventsLost(JackfieldError):  # noqa: N818 - it names what happened
    """Events came faster than they were read, and some were dropped at this point.

    `Client.events` can be called again and goes on after the gap. To get those that a topic has
    kept, subscribe with `since`.

    Attributes:
        count: How many were dropped.
    """

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count

    def __str__(self) -> str:
        return f"{self.count} events came faster than they were read, and were dropped."


class StreamBroken(JackfieldError):  # noqa: N818 - it names what happened
    """A stream has lost chunks: those read so far are good, and no more will follow."""


class Rejected(JackfieldError):  # noqa: N818 - it names what happened
    """Raised by a skill to reject a task; the caller gets the message, as with a failure."""


def retry_after(error: Exception) -> float | None:
    """Return how many seconds to wait before trying again; None if it would fail again."""
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
