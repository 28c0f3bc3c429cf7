"""`jackfield serve` where nothing is served yet."""

import errno
import socket

import pytest

from jackfield.cli.serve import _explain
from jackfield.config import load_settings
from tests.support.commands import run


def test_an_option_of_serve_is_told_as_one() -> None:
    result = run("serve", "--host", "a/b")
    assert result.exit_code == 1
    assert "command line: server.host: Not an IP address or a host name" in result.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (socket.gaierror(-2, "x"), "The host 'localhost' of server.host cannot be found."),
        (OSError(errno.EADDRINUSE, "x"), "Port 80 of localhost is in use: stop what listens there"),
        (
            OSError(errno.EADDRNOTAVAIL, "x"),
            "localhost of server.host is not an address of this machine.",
        ),
        (OSError(errno.EACCES, "x"), "Port 80 of localhost is not for this user to listen on."),
        (OSError(errno.EACCES, "Denied", "key.pem"), "[Errno 13] Denied: 'key.pem'"),
        (OSError("anything else"), "anything else"),
    ],
)
def test_what_keeps_it_from_listening_is_explained(error: OSError, message: str) -> None:
    settings = load_settings(None, {}, {"server": {"host": "localhost", "port": 80}}).server
    assert _explain(error, settings).startswith(message)
