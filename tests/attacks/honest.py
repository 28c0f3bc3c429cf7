"""The well-behaved client beside the attacks: it must be served throughout."""

import asyncio
import secrets
from typing import Any, Final

from jackfield.client import Client, ConnectionClosed, ConnectionFailed, Event, RequestError
from tests.attacks.siege import BOUND, Siege

#: Seconds between what it does.
_PAUSE: Final = 0.05


class Honest:
    """A client that does a little of everything, and counts what it was refused.

    Args:
        siege: The server.
    """

    def __init__(self, siege: Siege) -> None:
        self._siege = siege
        #: How many rounds were served.
        self.rounds = 0
        #: How often something that is kept was put off, as the server said of itself that it must.
        self.put_off = 0
        #: What must not be, in words.
        self.wrong: list[str] = []

    async def run(self) -> None:
        """Go on until cancelled."""
        async with (
            self._siege.connect("honest") as client,
            client.subscribe("whisper:honest") as subscription,
        ):
            events = aiter(subscription)
            while True:
                await self._expect(self._served(client, events), "serve it")
                await self._expect(self._connects(), "let it connect")
                await self._expect(self._keeps(client), "keep something small")
                self.rounds += 1
                await asyncio.sleep(_PAUSE)

    async def _expect(self, what: Any, words: str) -> None:
        try:
            async with asyncio.timeout(BOUND):
                await what
        except (RequestError, ConnectionClosed, ConnectionFailed, TimeoutError) as error:
            self.wrong.append(f"the server did not {words}: {error!r}"[:300])

    async def _served(self, client: Client, events: Any) -> None:
        word = secrets.token_hex(4)
        assert await client.request("session.ping", {"word": word}) == {"word": word}
        assert "echo" in [agent["name"] for agent in await client.agents()]
        await client.request(
            "topic.publish", {"topic": "whisper:honest", "payload": {"word": word}}
        )
        while True:
            event = await anext(events)
            if isinstance(event, Event) and event.payload == {"word": word}:
                return

    async def _connects(self) -> None:
        async with self._siege.connect("honest") as other:
            await other.request("session.whoami")

    async def _keeps(self, client: Client) -> None:
        """Publish to a history and call an agent; put off only while Redis is nearly full."""
        for message, payload in (
            ("topic.publish", {"topic": "hall:honest", "payload": {"text": "hi"}}),
            ("agent.call", {"agent": "echo", "input": {"text": "hi"}}),
        ):
            try:
                await client.request(message, payload)
            except RequestError as error:
                if error.code != "unavailable" or "nearly full" not in error.message:
                    raise
                self.put_off += 1
