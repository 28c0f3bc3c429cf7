"""The one map from what goes wrong at Jackfield to the errors of A2A."""

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

from .story import StoryLost

#: Codes of Jackfield for which A2A has an error. All others are none of the caller's making.
_ERRORS: dict[str, type[A2AError]] = {
    "conflict": UnsupportedOperationError,
    "forbidden": InvalidRequestError,
    "invalid_payload": InvalidParamsError,
    "not_found": TaskNotFoundError,
    "too_large": InvalidParamsError,
}


@contextmanager
def refusals(not_found: type[A2AError] = TaskNotFoundError) -> Iterator[None]:
    """Raise what Jackfield says as what A2A calls it.

    Args:
        not_found: What is raised if there is no such thing.

    Raises:
        A2AError: Something went wrong.
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
    except (StoryLost, StreamBroken) as error:
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
