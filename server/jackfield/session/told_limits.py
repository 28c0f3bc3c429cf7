"""The limits that a client is told in its welcome: those that it must keep to, or is served by."""

from typing import Any, Final

from jackfield.config import LimitSettings

#: Those of a client. The others are of the node: how many connections it takes, and what they cost.
_TOLD: Final = (
    "message_bytes",
    "in_flight",
    "nesting",
    "queue_bytes",
    "reply_bytes",
    "connections_per_user",
    "requests_per_second",
    "topics",
    "event_bytes",
    "history",
    "publishes_per_second",
    "handler_timeout",
    "write_timeout",
    "idle_timeout",
)


def told_limits(limits: LimitSettings) -> dict[str, Any]:
    """Return the limits for a welcome, by the names of the configuration; bytes and seconds."""
    return {name: _whole(getattr(limits, name)) for name in _TOLD}


def _whole(value: float) -> float:
    """Return a number without a needless fraction."""
    return int(value) if value == int(value) else value
