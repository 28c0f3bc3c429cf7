"""The connection of an agent, which comes and goes: what is asked of the server waits for one."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from jackfield.client.backoff import Backoff
from jackfield.client.connection import Client
from jackfield.client.errors import ConnectionClosed, RequestError, retry_after
from jackfield.client.socket import Message

#: Bytes of a message that a server takes unless it says otherwise.
_MESSAGE_BYTES: Final = 65_536
#: Seconds until what was refused for now is tried again, drawn up to the bound, which doubles.
_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


class Line:
    """The way to the server, over as many connections as it takes."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._open = asyncio.Event()
        self._message_bytes = _MESSAGE_BYTES

    @property
    def is_open(self) -> bool:
        """Whether the agent is registered over a connection that lives."""
        return self._open.is_set()

    @property
    def message_bytes(self) -> int:
        """Bytes of the longest message that the server takes."""
        return self._message_bytes

    def open(self, client: Client) -> None:
        """Use a connection, over which the agent is registered."""
        limits = client.welcome.get("limits") or {}
        self._message_bytes = limits.get("message_bytes", _MESSAGE_BYTES)
        self._client = client
        self._open.set()

    def close(self) -> None:
        """Let what is asked wait for the next connection."""
        self._client = None
        self._open.clear()

    async def wait_open(self) -> None:
        """Wait for a connection over which the agent is registered."""
        await self._open.wait()

    async def request(self, message_type: str, payload: Mapping[str, Any]) -> Message:
        """Ask until there is an answer: over the next connection, where one is lost.

        Only for what does no harm when it is said twice.

        Raises:
            RequestError: The server refused, for good.
        """
        waits = Backoff(_PAUSE, _LONGEST_PAUSE)
        while True:
            await self._open.wait()
            client = self._client
            if client is None:
                continue
            try:
                return await client.request(message_type, payload)
            except ConnectionClosed:
                if client is self._client:
                    self.close()
            except RequestError as error:
                after = retry_after(error)
                if after is None:
                    raise
                await asyncio.sleep(waits.draw(after))
