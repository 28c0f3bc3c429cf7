"""The kinds of value a configuration holds: durations, secrets, addresses, origins."""

import math
import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final

from marshmallow import ValidationError, fields

#: Milliseconds of each unit. Whole numbers, so that "9ms" is 0.009 s and not 0.009000000000000001.
_MILLISECONDS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", re.ASCII)
#: Ten years, in seconds. Longer is a slip of the keyboard, and far beyond it timers overflow.
_LONGEST: Final = 3650 * 86_400.0
_DURATION_HINT: Final = 'write "500ms", "5s", "2m", "1h", "1d" or seconds, from 0 to ten years'

#: The ports a browser leaves out of an origin (RFC 6454, section 6.2).
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(:(?P<port>\d{1,5}))?",
    re.ASCII,
)
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_HIGHEST_PORT: Final = 65_535


class Secret:
    """A text that is never shown: printing, logging or formatting it gives asterisks.

    Args:
        value: The text to keep.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._value))


def parse_duration(value: object) -> float:
    """Read a duration.

    Args:
        value: A number of seconds, or a text: a number and ``ms``, ``s``, ``m``, ``h`` or ``d``
            (seconds if it has no unit).

    Returns:
        Seconds.

    Raises:
        ValueError: It is neither, is negative or not finite, or is longer than ten years.
    """
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        seconds = float(match[1]) * _MILLISECONDS[match[2] or "s"] / 1_000
    if not 0 <= seconds <= _LONGEST:  # nan is not within anything
        raise ValueError(f"{value!r} is not a duration: {_DURATION_HINT}")
    return float(seconds)


class DurationField(fields.Field[float]):
    """A duration as `parse_duration` reads it, loaded as seconds."""

    default_error_messages = {  # noqa: RUF012 - as marshmallow declares it
        "invalid": f"Not a valid duration: {_DURATION_HINT}.",
    }

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> float:
        del attr, data, kwargs
        try:
            return parse_duration(value)
        except ValueError:
            raise self.make_error("invalid") from None


class SecretField(fields.Field[Secret]):
    """A text that no message, log or repr shows, loaded as `Secret`."""

    default_error_messages = {  # noqa: RUF012 - as marshmallow declares it
        "invalid": "Not a valid string.",
        "empty": "Must not be empty.",
    }

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Secret:
        del attr, data, kwargs
        if not isinstance(value, str):
            raise self.make_error("invalid")
        if not value:
            raise self.make_error("empty")
        return Secret(value)

    def _serialize(self, value: Secret | None, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        del attr, obj, kwargs
        return None if value is None else str(value)


class SecretFileField(fields.Field[Secret]):
    """The path of a file that holds a secret, loaded as the `Secret` it holds.

    The line ends with which editors close a file are not part of the secret.
    """

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Secret:
        del attr, data, kwargs
        if not isinstance(value, str) or "\0" in value:
            raise ValidationError("Not a valid path.")
        try:
            text = Path(value).read_text("utf-8").rstrip("\r\n")
        except OSError as exc:
            raise ValidationError(f"The file cannot be read: {exc.strerror}.") from None
        except UnicodeDecodeError:  # its words quote the content
            raise ValidationError("The file is not UTF-8 text.") from None
        if not text:
            raise ValidationError("The file is empty.")
        return Secret(text)


class FileField(fields.String):
    """The path of a file that can be read, loaded as it is written."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        path = super()._deserialize(value, attr, data, **kwargs)
        try:
            with Path(path).open("rb"):
                return path
        except (OSError, ValueError) as exc:  # ValueError: it has a null character
            reason = exc.strerror if isinstance(exc, OSError) else "not a valid path"
            raise ValidationError(f"The file cannot be read: {reason}.") from None


class NetworkField(fields.String):
    """An IP address, or a network of them such as ``10.0.0.0/8``, loaded as a network."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            return ip_network(text)
        except ValueError as exc:
            raise ValidationError(
                f'Not an IP address or a network such as "10.0.0.0/8": {exc}.'
            ) from None


class FlagField(fields.Boolean):
    """True or false and nothing that merely resembles them: no ``1``, no ``"yes"``."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> bool:
        del attr, data, kwargs
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class OriginField(fields.String):
    """An origin (RFC 6454), loaded in the spelling browsers send.

    Lower case, and without the port that the scheme implies.
    """

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        match = _ORIGIN.fullmatch(text.lower())
        if match is None or not 0 < int(match["port"] or 1) <= _HIGHEST_PORT:
            raise ValidationError(
                "Not a valid origin: write scheme://host or scheme://host:port, with nothing "
                "after it and no wildcards."
            )
        scheme, host, port = match.group("scheme", "host", "port")
        if port is None or int(port) == _DEFAULT_PORTS.get(scheme):
            return f"{scheme}://{host}"
        return f"{scheme}://{host}:{int(port)}"


def is_loopback(host: str) -> bool:
    """Return whether only its own machine can reach a host: 127.0.0.0/8, ::1, localhost."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_host(host: str) -> None:
    """Refuse what cannot be listened on.

    Raises:
        ValidationError: It is neither an IP address nor a host name.
    """
    try:
        ip_address(host)
    except ValueError:
        if not _HOST_NAME.fullmatch(host):
            raise ValidationError(
                "Not an IP address or a host name (a port is set by server.port)."
            ) from None
