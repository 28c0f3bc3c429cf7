"""The kinds of value: what each accepts, what it makes of it, and what it refuses."""

import copy
import pickle
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from marshmallow import ValidationError, fields

from jackfield.config.fields import (
    DurationField,
    FileField,
    FlagField,
    NetworkField,
    OriginField,
    Secret,
    SecretField,
    SecretFileField,
    check_host,
    is_loopback,
    parse_duration,
)


def refusal(field: fields.Field[Any], value: object) -> str:
    """The words a field refuses a value with."""
    with pytest.raises(ValidationError) as caught:
        field.deserialize(value)
    (message,) = caught.value.messages
    return str(message)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("9ms", 0.009),
        ("5s", 5.0),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1d", 86_400.0),
        ("7", 7.0),
        (7, 7.0),
        (0.25, 0.25),
        (0, 0.0),
    ],
)
def test_a_duration_is_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "s",
            "-1s",
            "1 s",
            "1S",
            "1h30m",
            "1e3",
            "٣s",
            "inf",
            "nan",
            "1w",
            "4000d",
            "9" * 400,
        ),
        *(-1, -0.5, float("inf"), float("nan"), 10**400, 4e8, True, None, []),
    ],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match='is not a duration: write "500ms"'):
        parse_duration(value)


def test_a_duration_field_loads_seconds_and_says_how_to_write_them() -> None:
    assert DurationField().deserialize("1m") == 60.0
    assert refusal(DurationField(), "soon").startswith('Not a valid duration: write "500ms"')


@pytest.mark.parametrize("value", [1, 0, 1.0, "true", "yes", []])
def test_a_flag_is_nothing_that_resembles_true_or_false(value: object) -> None:
    assert refusal(FlagField(), value) == "Not a valid boolean."


@pytest.mark.parametrize("value", [True, False])
def test_a_flag_is_true_or_false(value: object) -> None:
    assert FlagField().deserialize(value) is value


def test_a_secret_is_shown_by_nothing_but_reveal() -> None:
    secret = Secret("hunter2")

    assert secret.reveal() == "hunter2"
    assert "hunter2" not in f"{secret} {secret!r} {secret!s:>20} {[secret]}"
    assert secret == Secret("hunter2") != Secret("other")
    assert secret != "hunter2"
    assert len({secret, Secret("hunter2")}) == 1
    assert copy.deepcopy(secret) == pickle.loads(pickle.dumps(secret)) == secret


def test_a_secret_field_loads_a_secret_and_dumps_asterisks() -> None:
    field = SecretField()

    assert field.deserialize("hunter2") == Secret("hunter2")
    assert field.serialize("token", {"token": Secret("hunter2")}) == "***"
    assert field.serialize("token", {"token": None}) is None
    assert refusal(field, 4242) == "Not a valid string."
    assert refusal(field, "") == "Must not be empty."


@pytest.mark.parametrize("content", ["hunter2", "hunter2\n", "hunter2\r\n"])
def test_a_secret_file_holds_the_secret_and_perhaps_a_line_end(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "secret"
    path.write_text(content, newline="")

    assert SecretFileField().deserialize(str(path)) == Secret("hunter2")


def test_a_secret_file_is_refused_without_its_content(tmp_path: Path) -> None:
    field, path = SecretFileField(), tmp_path / "secret"

    missing = "The file cannot be read: No such file or directory."
    assert refusal(field, str(path)) == missing
    path.write_text("\n")
    assert refusal(field, str(path)) == "The file is empty."
    path.write_bytes(b"hunter2\xff")
    assert refusal(field, str(path)) == "The file is not UTF-8 text."
    assert refusal(field, "a\0b") == "Not a valid path."
    assert refusal(field, 1) == "Not a valid path."


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.com", False),
        ("localhost.example", False),
    ],
)
def test_a_host_is_loopback_if_only_its_machine_can_reach_it(
    host: str,
    loopback: bool,  # noqa: FBT001 - what is expected
) -> None:
    check_host(host)

    assert is_loopback(host) is loopback


@pytest.mark.parametrize("host", ["", "localhost:80", "http://localhost", "[::1]", "a b", "a\n"])
def test_what_cannot_be_listened_on_is_no_host(host: str) -> None:
    with pytest.raises(ValidationError, match="Not an IP address or a host name"):
        check_host(host)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTPS://Example.COM:443", "https://example.com"),
        ("http://example.com:80", "http://example.com"),
        ("http://example.com:443", "http://example.com:443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(given: str, sent: str) -> None:
    assert OriginField().deserialize(given) == sent


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "*",
        "null",
        "example.com",
        "https://",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?x",
        "https://user@example.com",
        "https://*.example.com",
        "https://example.com:",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com\n",
        "https://exämple.com",
        1,
    ],
)
def test_what_no_browser_sends_is_no_origin(origin: object) -> None:
    assert refusal(OriginField(), origin).startswith("Not a valid ")


def test_a_file_is_the_path_of_one_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "certificate.pem"
    assert refusal(FileField(), str(path)) == (
        "The file cannot be read: No such file or directory."
    )
    path.touch()
    assert FileField().deserialize(str(path)) == str(path)
    assert refusal(FileField(), str(tmp_path)) == "The file cannot be read: Is a directory."
    assert refusal(FileField(), "a\0b") == "The file cannot be read: not a valid path."
    assert refusal(FileField(), 5) == "Not a valid string."


@pytest.mark.parametrize("text", ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1"])
def test_a_network_is_an_address_or_many(text: str) -> None:
    assert NetworkField().deserialize(text) == ip_network(text)


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.*", "*"])
def test_what_is_no_network_is_refused(text: str) -> None:
    assert refusal(NetworkField(), text).startswith(
        'Not an IP address or a network such as "10.0.0.0/8": '
    )
