"""Every error code, and what each of them promises.

The codes are the wire contract: clients switch on them, so a code is never renamed and never
changes whether it may be retried.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple


class ErrorSpec(NamedTuple):
    """What is fixed about an error code: its default words, and whether to try again."""

    message: str
    retryable: bool = False


#: The codes of the protocol. A plugin's own codes are ``<plugin>.<code>``.
ERROR_CODES: dict[str, ErrorSpec] = {
    "invalid_json": ErrorSpec("The message is not valid JSON."),
    "invalid_message": ErrorSpec("The message is not a valid envelope."),
    "unknown_type": ErrorSpec("There is no such message type."),
    "invalid_payload": ErrorSpec("The payload is not valid."),
    "unauthenticated": ErrorSpec("This needs an identity."),
    "token_expired": ErrorSpec("The token has expired."),
    "forbidden": ErrorSpec("This connection may not do that."),
    "not_found": ErrorSpec("There is no such thing, or it is not yours to see."),
    "conflict": ErrorSpec("This is already there."),
    "rate_limited": ErrorSpec("Too many requests.", retryable=True),
    "too_large": ErrorSpec("The answer is larger than the server sends."),
    "timeout": ErrorSpec("The handler did not finish in time.", retryable=True),
    "cancelled": ErrorSpec("The request was cancelled."),
    "unavailable": ErrorSpec("This is unavailable for now.", retryable=True),
    "unrecoverable": ErrorSpec("What was missed is no longer kept."),
    "agent_gone": ErrorSpec("The agent is gone.", retryable=True),
    "agent_failed": ErrorSpec("The agent has failed."),
    "internal": ErrorSpec("The server failed to handle this message."),
}


class Error(Exception):
    """A refusal with a code that the client sees; everything else a handler raises is ``internal``.

    Args:
        code: One of the protocol's codes, or a plugin's own, prefixed by the plugin's name
            (``chat.room_full``).
        message: A sentence for a person. A protocol code has one already.
        retryable: Whether the same message may succeed later. A protocol code knows already.
        **extra: Further keys of the error object, each a JSON value (``retry_after=2.5``,
            ``fields=[...]``).

    Raises:
        ValueError: The code is neither the protocol's nor prefixed, or it is a plugin's own and
            has no message.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        retryable: bool | None = None,
        **extra: Any,
    ) -> None:
        spec = ERROR_CODES.get(code)
        if spec is None:
            if "." not in code:
                raise ValueError(
                    f"{code!r} is not an error code of the protocol; a plugin's own codes start "
                    f"with its name: 'chat.{code}'"
                )
            if message is None:
                raise ValueError(f"the error {code!r} needs a message")
            spec = ErrorSpec(message)
        self.code = code
        self.message = spec.message if message is None else message
        self.retryable = spec.retryable if retryable is None else retryable
        self.extra = extra
        super().__init__(f"{code}: {self.message}")

    def as_dict(self) -> dict[str, Any]:
        """Return the error object as it stands on the wire."""
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            **self.extra,
        }


#: A hostile message has thousands of faults, or names of a whole message's size: what is told of
#: them stays small beside what was sent.
_MAX_FAULTS: Final = 64
_MAX_FAULT_CHARACTERS: Final = 16_384


def field_fault(pointer: str, code: str, message: str) -> dict[str, str]:
    """Return one entry of an error's ``fields``.

    Args:
        pointer: JSON Pointer (RFC 6901) to what is wrong.
        code: What is wrong with it, for a program.
        message: The same for a person.
    """
    return {"pointer": pointer, "code": code, "message": message}


def with_faults(code: str, faults: Sequence[dict[str, str]], message: str | None = None) -> Error:
    """Return an error with ``fields``; of too many, ``fields_omitted`` counts the rest.

    Args:
        code: The error's code.
        faults: Made by `field_fault`; at least one is told, whatever its size.
        message: Other words than the code's own.
    """
    room = _MAX_FAULT_CHARACTERS
    told: list[dict[str, str]] = []
    for fault in faults[:_MAX_FAULTS]:
        room -= len(fault["pointer"]) + len(fault["message"])
        if told and room < 0:
            break
        told.append(fault)
    error = Error(code, message, fields=told)
    if len(told) < len(faults):
        error.extra["fields_omitted"] = len(faults) - len(told)
    return error


#: What plugins' code may raise without harm to others. `sys.exit` is meant for programs: a server
#: doesn't end because a library calls it.
CONTAINED: Final[tuple[type[BaseException], ...]] = (Exception, SystemExit)


class RegistrationError(Exception):
    """A plugin is declared wrongly: the words say what is wrong and what to do about it."""
