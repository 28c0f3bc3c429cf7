"""The one map from errors of Jackfield to those of A2A."""

from collections.abc import Iterator
from contextlib import contextmanager

from a2a.utils.errors import (
    A2AError,
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from jackfield.client import ConnectionClosed, RequestError, StreamBroken

from .task_events import EventsLost

#: The errors of A2A by codes of Jackfield. All others are internal: the caller did not cause them.
_ERRORS: dict[str, type[A2AError]] = {
    "conflict": UnsupportedOperationError,
    "forbidden": InvalidRequestError,
    "invalid_payload": InvalidParamsError,
    "not_found": TaskNotFoundError,
    "too_large": InvalidParamsError,
}


@contextmanager
def translated_errors(not_found: type[A2AError] = TaskNotFoundError) -> Iterator[None]:
    """Raise errors of A2A for those that Jackfield's client raises in the context.

    Args:
        not_found: The error for ``not_found``.

    Raises:
        A2AError: In place of any of the client's.
    """
    try:
        yield
    except RequestError as error:
        kind = _ERRORS.get(error.code, InternalError)
        if error.code == "not_found":
            kind = not_found
        raise kind(error.message, _data(error)) from error
    except ConnectionClosed as error:
        raise InternalError(
            "The connection to Jackfield was lost: try again.", {"code": "unavailable"}
        ) from error
    except (EventsLost, StreamBroken) as error:
        raise InternalError("What became of the task is lost.", {"code": "unavailable"}) from error


def _data(error: RequestError) -> dict[str, object]:
    data: dict[str, object] = {"code": error.code}
    if error.fields:
        data["errors"] = [
            {"field": fault["pointer"], "message": fault["message"]} for fault in error.fields
        ]
    if "retry_after" in error.extra:
        data["retry_after"] = error.extra["retry_after"]
    return data
