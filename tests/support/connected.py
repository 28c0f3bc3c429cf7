"""A real connection on a transport that keeps what is written, for tests without a socket."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import msgspec
from aiohttp import web

from jackfield.config import LimitSettings, load_settings
from jackfield.connection.connection import Connection, SocketReader
from jackfield.connection.new_connection import NewConnection
from jackfield.connection.outbox import Outbox
from jackfield.connection.running import RunningRequest
from jackfield.wire import frames
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.identity import ANONYMOUS, Identity
from jackfield.wire.protocol import JSON, Codec


class KeepingTransport(asyncio.Transport):
    """A transport whose client takes what is written at once, unless it is told not to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        #: Bytes that the client has not taken.
        self.waiting = 0
        self.takes = True
        self.is_aborted = False
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data
        self.waiting += 0 if self.takes else len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.is_aborted or self.is_closed

    def abort(self) -> None:
        self.is_aborted = True

    def close(self) -> None:
        self.is_closed = True


class NoReader:
    """Reads nothing, and keeps which requests it was to read on beside."""

    def __init__(self) -> None:
        self.is_reading = True
        self.slow: list[RunningRequest] = []

    def keep_reading(self, request: RunningRequest) -> None:
        self.slow.append(request)


class Connected:
    """A connection, and what its client gets.

    Args:
        limits: Of ``[limits]``, what is not as by default.
        identity: Whose the connection is.
        codec: Its encoding.
        reader: What reads its socket.
        connection_id: Its id.
        outbox: Makes its outbox, of the arguments of `Outbox`.
    """

    def __init__(
        self,
        *,
        limits: Mapping[str, Any] | None = None,
        identity: Identity = ANONYMOUS,
        codec: Codec = JSON,
        reader: SocketReader | None = None,
        connection_id: str = "c1",
        outbox: Callable[..., Outbox] = Outbox,
    ) -> None:
        self.transport = KeepingTransport()
        self.request: Any = _Request()
        self.idle_reader = NoReader()
        self.stalls = 0
        self.connection = Connection(
            NewConnection(connection_id, identity.user, "192.0.2.1"),
            identity=identity,
            codec=codec,
            request=cast(web.Request, self.request),
            transport=self.transport,
            outbox=outbox(
                self.transport,
                self._drain,
                limit=2**20,
                timeout=3600.0,
                on_stalled=self._stalled,
            ),
            reader=self.idle_reader if reader is None else reader,
            limits=limits_of(limits or {}),
        )

    async def _drain(self) -> None:
        """The transport's buffer is never full."""

    def _stalled(self) -> None:
        self.stalls += 1

    def sent(self) -> list[Any]:
        """What was sent since the last call: messages decoded, closes, and other frames' bytes."""
        self.connection.outbox._write_queued()
        written = bytes(self.transport.written)
        self.transport.written.clear()
        return list(self._decoded(written))

    def _decoded(self, written: bytes) -> Iterator[Any]:
        codec = self.connection.codec
        decode: Any = msgspec.json.decode if codec is JSON else msgspec.msgpack.decode
        for opcode, payload in frames.split(written):
            if opcode == codec.opcode:
                yield decode(payload)
            elif opcode == frames.CLOSE:
                yield int.from_bytes(payload[:2]), payload[2:].decode()
            else:
                yield frames.frame(opcode, payload)

    def closed_with(self) -> CloseCode | None:
        """The code that the server has closed it with."""
        return self.connection.closing

    def close(self) -> None:
        """Leave no timer behind."""
        self.connection.outbox.discard()
        self.transport.waiting = 0
        self.connection.release()


class _Request:
    """As much of an aiohttp request as a connection uses."""

    def __init__(self) -> None:
        self.transport: object | None = None


def limits_of(limits: Mapping[str, Any]) -> LimitSettings:
    """The default limits with these instead; they needn't fit each other."""
    return replace(load_settings(None, {}, {}).limits, **limits)


def error_of(message: Any) -> Any:
    """The error of an error message, whose id is its own matter."""
    assert message["type"] == "error"
    return message["error"]
