"""Where a peer listens: on a free port of this machine, told on standard output."""

import socket
from typing import Final

#: Connections the kernel holds before they are accepted: all that one run opens.
_BACKLOG: Final = 1024


def listen() -> socket.socket:
    """A socket that listens already, so that who reads the address can connect at once."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # noqa: T201 - it is told
    return listener
