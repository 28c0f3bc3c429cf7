"""The registration of an agent with its server, renewed over each new connection."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from jackfield.client.backoff import Backoff
from jackfield.client.connection import Client
from jackfield.client.errors import ConnectionClosed, RequestError, retry_after
from jackfield.client.message import Message

from .skill import AgentSkill

#: Bytes of a message that a server accepts unless its welcome says otherwise.
_MESSAGE_BYTES: Final = 65_536
#: Seconds, the first and the highest bound of the random delay before a request that was refused
#: for now is repeated.
_RETRY_DELAY: Final = 0.1
_MAX_RETRY_DELAY: Final = 5.0


class Registration:
    """An agent's registration, and its requests, which wait while there is no connection.

    Args:
        name: The agent's name.
        capacity: How many tasks it takes at once.

    Attributes:
        instance: The id of this instance, which the server gave; None before the first time, and
            after a server has forgotten it.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self.instance: str | None = None
        self._name = name
        self._capacity = capacity
        self._client: Client | None = None
        self._active = asyncio.Event()
        self._message_bytes = _MESSAGE_BYTES

    @property
    def is_active(self) -> bool:
        """Whether the agent is registered over a connection that is open."""
        return self._active.is_set()

    @property
    def message_bytes(self) -> int:
        """Bytes of the longest message that the server accepts."""
        return self._message_bytes

    async def renew(
        self,
        client: Client,
        skills: Iterable[AgentSkill],
        timeout: float | None,  # noqa: ASYNC109 - as `Client.request`
    ) -> list[Message]:
        """Register over a new connection, as the same instance if the server still knows it.

        Args:
            client: The new connection.
            skills: What the agent can be called for.
            timeout: Seconds to wait for each answer, None for as long as it takes.

        Returns:
            The tasks that the server says this instance has.

        Raises:
            RequestError: The server refused.
            ConnectionClosed: The connection has ended.
            TimeoutError: The server did not answer in time.
        """
        payload: Message = {
            "name": self._name,
            "capacity": self._capacity,
            "skills": [skill.as_dict() for skill in skills],
        }
        known = {} if self.instance is None else {"instance": self.instance}
        try:
            reply = await client.request("agent.register", payload | known, timeout=timeout)
        except RequestError as error:
            if not known or error.code not in ("not_found", "conflict"):
                raise
            self.instance = None  # the server has forgotten it, or it is another's: start over
            reply = await client.request("agent.register", payload, timeout=timeout)
        self.instance = reply["instance"]
        limits = client.welcome.get("limits") or {}
        self._message_bytes = limits.get("message_bytes", _MESSAGE_BYTES)
        self._client = client
        self._active.set()
        return list(reply.get("tasks", ()))

    def suspend(self) -> None:
        """Let requests wait for the next connection."""
        self._client = None
        self._active.clear()

    async def wait_active(self) -> None:
        """Wait until the agent is registered over a connection."""
        await self._active.wait()

    async def request(self, message_type: str, payload: Mapping[str, Any]) -> Message:
        """Send a request until it is answered: again over the next connection if one is lost.

        Only for requests that are idempotent.

        Returns:
            The payload of the reply.

        Raises:
            RequestError: The server refused, and would refuse it again.
        """
        delays = Backoff(_RETRY_DELAY, _MAX_RETRY_DELAY)
        while True:
            await self._active.wait()
            client = self._client
            if client is None:
                continue
            try:
                return await client.request(message_type, payload)
            except ConnectionClosed:
                if client is self._client:
                    self.suspend()
            except RequestError as error:
                after = retry_after(error)
                if after is None:
                    raise
                await asyncio.sleep(delays.next_delay(after))
