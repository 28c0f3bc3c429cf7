"""A client that sends messages at random and counts what it is answered."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from jackfield.wire.close_codes import CLOSE_CODES, CloseCode
from jackfield.wire.protocol import JSON, MSGPACK, Codec, MalformedError, NotUtf8Error
from tests.fuzz.messages import Maker, Memory

#: Seconds for an answer: the server's own bounds are below, but for what waits for an agent.
_PATIENCE: Final = 20.0
#: Seconds until a client that was turned away comes again.
_PAUSE: Final = 0.5
#: Messages of one connection; then it comes anew, perhaps to another node.
_LIFETIME: Final = 150
#: Messages that are sent before the client reads on until the last is answered.
_BURST: Final = 12
#: Codes that say that the server is at fault, or that nobody sends.
_WRONG: Final = frozenset({CloseCode.INTERNAL_ERROR})


@dataclass
class Tally:
    """What happened to all clients.

    Attributes:
        sent: Messages, by what they were: whole or damaged.
        answers: Replies, chunks, and errors by their code.
        closed: Close codes.
        wrong: What must not be, in words, and how often.
        led: The last messages of a connection before each first happened.
    """

    sent: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    closed: Counter[int | None] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    led: dict[str, list[bytes]] = field(default_factory=dict)

    def blame(self, words: str, messages: Iterable[bytes]) -> None:
        """Count what must not be, and keep the messages that led to the first of it."""
        self.wrong[words] += 1
        self.led.setdefault(words, list(messages))


class FuzzClient:
    """One client: a connection after another, each of some identity, in some encoding.

    Args:
        addresses: The WebSockets of the nodes.
        identities: Headers by which a client is somebody.
        chance: Where it takes its choices from.
        memory: What all clients have been told.
        tally: Where it counts.
    """

    def __init__(
        self,
        addresses: list[str],
        identities: list[Mapping[str, str]],
        chance: random.Random,
        memory: Memory,
        tally: Tally,
    ) -> None:
        self._addresses = addresses
        self._identities = identities
        self._chance = chance
        self._memory = memory
        self._maker = Maker(chance, memory)
        self._tally = tally
        self._names = 0

    async def run(self, goes_on: Callable[[], bool]) -> None:
        """Connect and send, again and again.

        Args:
            goes_on: Whether to go on.
        """
        async with ClientSession() as http:
            while goes_on():
                codec = self._chance.choice((JSON, MSGPACK))
                try:
                    async with http.ws_connect(
                        self._chance.choice(self._addresses),
                        protocols=(codec.name,),
                        headers=self._chance.choice(self._identities),
                        max_msg_size=0,
                    ) as socket:
                        await _Visit(socket, codec, self).run(goes_on)
                except WSServerHandshakeError as refused:
                    # Redis may be slow for a moment, as it is on a busy machine.
                    if refused.status != HTTPStatus.SERVICE_UNAVAILABLE:
                        raise
                    self._tally.answers[f"HTTP {refused.status}"] += 1
                    await asyncio.sleep(_PAUSE)

    def next_id(self) -> int | str:
        """Make the id of a message: no other has it."""
        self._names += 1
        return self._names if self._chance.random() < 0.8 else f"m{self._names}"


class _Visit:
    """One connection."""

    def __init__(self, socket: ClientWebSocketResponse, codec: Codec, client: FuzzClient) -> None:
        self._socket = socket
        self._codec = codec
        self._maker = client._maker
        self._next_id = client.next_id
        self._chance = client._chance
        self._memory = client._memory
        self._tally = client._tally
        module: Any = msgspec.json if codec is JSON else msgspec.msgpack
        self._decode: Callable[[bytes], Any] = module.decode
        self._encode: Callable[[Any], bytes] = module.encode
        #: How many messages may be answered under an id, and how many were.
        self._may_be_answered: Counter[int | str | None] = Counter()
        self._answered: Counter[int | str | None] = Counter()
        self._awaited: int | str | None = None
        self._last: deque[bytes] = deque(maxlen=2 * _BURST)
        self._news = asyncio.Event()

    async def run(self, goes_on: Callable[[], bool]) -> None:
        """Send until the connection ends, or has lived for long enough."""
        reading = asyncio.create_task(self._read())
        try:
            for _ in range(_LIFETIME // _BURST):
                if not goes_on() or reading.done():
                    break
                for _ in range(self._chance.randrange(1, _BURST)):
                    await self._send()
                await self._catch_up(reading)
            await self._socket.close()
            await asyncio.wait([reading], timeout=_PATIENCE)
        except ConnectionError:  # the server has closed meanwhile
            await asyncio.wait([reading], timeout=_PATIENCE)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        self._judge()

    async def _send(self) -> None:
        message = self._maker.message(self._next_id())
        data = self._maker.encode(message, self._codec)
        whole = data == self._try_to_encode(message)
        self._tally.sent["whole" if whole else "damaged"] += 1
        try:
            envelope = self._codec.decode(data)
            message_id = None if envelope.id is msgspec.UNSET else envelope.id
        except MalformedError as malformed:
            message_id = malformed.id
        except NotUtf8Error:  # closes the connection
            message_id = None
        self._may_be_answered[message_id] += 1
        await self._send_data(data)

    async def _send_data(self, data: bytes) -> None:
        kind = WSMsgType.TEXT if self._codec is JSON else WSMsgType.BINARY
        self._last.append(data)
        await self._socket.send_frame(data, kind)

    def _try_to_encode(self, message: Any) -> bytes:
        try:
            return self._encode(message)
        except OverflowError:
            return b""

    async def _catch_up(self, reading: "asyncio.Task[None]") -> None:
        """Wait until a message that is right is answered: all before it were read by then."""
        self._awaited = self._next_id()
        self._may_be_answered[self._awaited] += 1
        self._news.clear()
        await self._send_data(
            self._encode({"type": "session.whoami", "id": self._awaited, "payload": {}})
        )
        news = asyncio.create_task(self._news.wait())
        done, _ = await asyncio.wait(
            [news, reading], timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED
        )
        news.cancel()
        if not done:
            self._blame(f"no answer within {_PATIENCE:g} s")

    async def _read(self) -> None:
        async for frame in self._socket:
            data = frame.data.encode() if isinstance(frame.data, str) else frame.data
            self._take(self._decode(data))

    def _take(self, message: Any) -> None:
        self._memory.learn(message)
        kind = message["type"]
        if kind not in {"reply", "error"}:
            self._tally.answers[kind] += 1
            return
        code = message["error"]["code"] if kind == "error" else "reply"
        self._tally.answers[code] += 1
        if code == "internal":
            self._blame("an answer is an internal error")
        message_id = message.get("id")
        self._answered[message_id] += 1
        if message_id == self._awaited:
            self._news.set()

    def _judge(self) -> None:
        for message_id, times in self._answered.items():
            may_be = self._may_be_answered[message_id]
            # Without an id there are also errors about what the server did by itself.
            if times > may_be and message_id is not None:
                self._blame("a message has more than one answer")
        code = self._socket.close_code
        self._tally.closed[code] += 1
        if code not in set(CLOSE_CODES) - _WRONG:
            self._blame(f"a connection is closed with {code}")

    def _blame(self, words: str) -> None:
        self._tally.blame(words, self._last)
