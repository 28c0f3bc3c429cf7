"""Logs, by structlog: for a person on a terminal, one JSON object a line anywhere else.

Much of what is logged comes from clients. None of it can pass for a line of its own or control the
terminal, and what any client can cause is logged at a limited rate.
"""

import logging
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Final, TextIO

import structlog
from aiohttp.http_exceptions import HttpProcessingError

from jackfield.config import LoggingSettings
from jackfield.wire.rates import TokenBucket

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

#: Lines a second, and at once, that clients can cause: enough to see what happens.
_RATE: Final = 5
_BURST: Final = 50


class RateLimitedLog:
    """A log for what any client can cause: lines past a rate are left out, and counted.

    Args:
        logger: Where to log.
        rate: Lines a second.
        burst: Lines at once.
    """

    def __init__(self, logger: Any, *, rate: float = _RATE, burst: int = _BURST) -> None:
        self._logger = logger
        self._bucket = TokenBucket(rate, burst)
        self._left_out = 0

    def info(self, event: str, **fields: object) -> None:
        """Log this, and how many lines were left out since the last one; or leave it out."""
        self._write(self._logger.info, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """The same, as a warning."""
        self._write(self._logger.warning, event, fields)

    def _write(self, write: Callable[..., object], event: str, fields: dict[str, object]) -> None:
        if self._bucket.take(time.monotonic()):
            self._left_out += 1
            return
        if self._left_out:
            fields["left_out"], self._left_out = self._left_out, 0
        write(event, **fields)


class _Shown:
    """A value that the console's renderer shows as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def printable(text: str) -> str:
    """The same text with escapes for what is not to be seen: control characters and their like."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _make_printable(
    _: Any, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape what a terminal would obey; JSON escapes by itself, and so does any `repr`."""
    for key, value in event.items():
        if key == "event":
            event[key] = printable(str(value))
        elif key == "stack":
            event[key] = _indented(str(value))
        elif isinstance(value, str) and not value.isprintable():
            event[key] = _Shown(repr(value))
    return event


# No traceback shows local variables: they hold payloads.
def _write_traceback(file: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    file.write("\n" + _indented("".join(traceback.format_exception(*exc_info))))


def _indented(text: str) -> str:
    """Lines of which none can pass for the beginning of an entry, whatever it quotes."""
    return "\n".join(f"    {printable(line)}" for line in text.rstrip("\n").split("\n"))


def _is_ours_to_know(record: logging.LogRecord) -> bool:
    """Leave out aiohttp's traceback for every request that is not HTTP: it quotes the request."""
    exc = None if record.exc_info is None else record.exc_info[1]
    return not isinstance(exc, HttpProcessingError)


def configure(settings: LoggingSettings) -> None:
    """Set up logging for the process; everything goes to standard error.

    Args:
        settings: The format and the lowest level that is written.
    """
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if console:
        last: list[structlog.typing.Processor] = [
            _make_printable,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=_write_traceback
            ),
        ]
    else:
        last = [
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(),
        ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # aiohttp, redis and asyncio log by the standard library: the same lines, by the same rules.
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_is_ours_to_know)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(_LEVELS[settings.level], logging.INFO))
