"""The one place that makes an `Error` of an exception: a fault is logged, and gets an id."""

import secrets

import structlog

from jackfield.wire.errors import Error

_log = structlog.get_logger("jackfield")


def error_of(exc: BaseException, **where: str | None) -> Error:
    """Return what a client is told of an exception.

    An `Error` is told as it is. Anything else is a fault of ours or of a plugin: it is logged with
    its traceback under the id of an incident, and the client learns that id and nothing else.

    Args:
        exc: What was raised.
        **where: Further keys for the log, such as the plugin and the connection.
    """
    return exc if isinstance(exc, Error) else report(exc, **where)


def report(exc: BaseException, **where: str | None) -> Error:
    """Log a fault under the id of an incident, and return the error that tells that id.

    Args:
        exc: What was raised, where nothing should have been.
        **where: Further keys for the log.
    """
    incident = secrets.token_hex(8)
    _log.error("a handler failed", incident=incident, exc_info=exc, **where)
    return Error("internal", incident=incident)
