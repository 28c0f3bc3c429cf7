"""A WebSocket client: blocking while it gets ready, then read from whenever something is there."""

import os
import socket
from collections import deque
from collections.abc import Iterable
from contextlib import closing, suppress
from typing import Any, Final

from benchmarks.wire import CLOSE, TEXT, Dialect, WireError, client_frame
from benchmarks.wire import split as split_frames

#: Seconds a server may take for an answer while a client gets ready.
PATIENCE: Final = 10.0
#: Bytes that are read at a time: more than waits in a socket, as far less is in flight.
_MOST: Final = 262_144
_NORMAL_CLOSURE: Final = (1000).to_bytes(2)


class Client:
    """A client that has connected and exchanged what a server opens with.

    Args:
        port: Where the server listens, on this machine.
        dialect: How it is spoken to.

    Raises:
        WireError: The server answers wrongly.
        OSError: It does not answer.
    """

    def __init__(self, port: int, dialect: Dialect) -> None:
        self.dialect = dialect
        self._mask = os.urandom(4)
        #: The beginning of a frame that has not come whole.
        self._rest = b""
        #: Messages that came together with one that was waited for.
        self._waiting: deque[bytes] = deque()
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._upgrade(port)
        for start, answer in dialect.opening:
            message = self.next_message()
            if not message.startswith(start):
                raise WireError(f"it opens with {message!r}")
            if answer is not None:
                self.write(self.frame(answer))

    def _upgrade(self, port: int) -> None:
        self.write(
            f"GET {self.dialect.path} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._receive()
        head, _, rest = answer.partition(b"\r\n\r\n")
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise WireError(f"no upgrade: {head.decode(errors='replace')}")
        self._waiting.extend(self._take_apart(rest))

    def frame(self, message: bytes) -> bytes:
        """A text message, masked."""
        return client_frame(TEXT, message, self._mask)

    def write(self, data: bytes) -> None:
        """Write whole frames.

        Raises:
            WireError: The server does not read. What is in flight is far smaller than the kernel's
                buffers.
        """
        if self.socket.send(data) != len(data):
            raise WireError("it does not read")

    def next_message(self) -> bytes:
        """Wait for a message.

        Raises:
            WireError: The server closed the connection.
            TimeoutError: Nothing comes.
        """
        while not self._waiting:
            self._waiting.extend(self.read())
        return self._waiting.popleft()

    def ask(self, message_type: str, payload: Any, message_id: int = 1) -> Any:
        """Send a request, and wait for its answer.

        Raises:
            WireError: What comes is not that answer.
            TimeoutError: Nothing comes.
        """
        self.write(self.frame(self.dialect.request(message_id, message_type, payload)))
        message = self.next_message()
        try:
            answered, result = self.dialect.reply(message)
        except ValueError as exc:
            raise WireError(f"{exc}: {message!r}") from exc
        if answered != message_id:
            raise WireError(f"not the reply to request {message_id}: {message!r}")
        return result

    def join(self, room: str) -> None:
        """Become a member of a room, or subscribe to its topic.

        Raises:
            WireError: The server does not let us.
        """
        self.ask(*self.dialect.join(room))

    def read(self) -> list[bytes]:
        """Read what is there; heartbeats among it are answered.

        Returns:
            The messages that have come whole.

        Raises:
            WireError: The server closed the connection, or sent what is no message.
        """
        return self._take_apart(self._receive())

    def _receive(self) -> bytes:
        data = self.socket.recv(_MOST)
        if not data:
            raise WireError("it closed the connection")
        return data

    def _take_apart(self, data: bytes) -> list[bytes]:
        frames, self._rest = split_frames(self._rest + data)
        messages = []
        for opcode, payload in frames:
            if (answer := self.dialect.answer(opcode, payload)) is not None:
                self.write(client_frame(*answer, self._mask))
            elif opcode == TEXT:
                messages.append(payload)
            else:
                raise WireError(f"a frame with opcode {opcode}: {payload!r}")
        return messages

    def start(self) -> None:
        """From now on `on_readable` is called whenever something is there.

        Raises:
            WireError: Something has come that nobody waited for.
        """
        if self._waiting:
            raise WireError(f"nobody waited for {self._waiting[0]!r}")
        self.socket.settimeout(0)

    def on_readable(self) -> int:
        """Take what is there; this client expects nothing but heartbeats.

        Returns:
            How much of what is counted came.

        Raises:
            WireError: The server sent something else.
        """
        if messages := self.read():
            raise WireError(f"nobody waited for {messages[0]!r}")
        return 0

    def say_goodbye(self) -> None:
        """Begin to close the connection."""
        self.socket.settimeout(PATIENCE)
        with suppress(OSError):  # a server may cut the line as well
            self.write(client_frame(CLOSE, _NORMAL_CLOSURE, self._mask))

    def close(self) -> None:
        """End the connection; the server has answered what was in flight when this returns."""
        with closing(self.socket), suppress(OSError):
            while self.socket.recv(_MOST):
                pass


def close_all(clients: Iterable[Client]) -> None:
    """End connections, all at the same time."""
    clients = list(clients)
    for client in clients:
        client.say_goodbye()
    for client in clients:
        client.close()
