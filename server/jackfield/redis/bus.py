"""The bus: the channels this node listens to, over a link to each Redis server that has some.

Redis promises nothing about pub/sub: what is published while a link is down, or while its buffer
overruns, is gone, and a half-open link looks like a silent one. So each link proves itself by a
probe that it must bring back, and whoever listens to a channel is told whenever something may have
been missed on it: each time it is subscribed anew.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import structlog
from redis.exceptions import RedisError

from jackfield.wire.errors import Error

from .client import RedisClient
from .lua import load

_PROBE: Final = load(__package__, "probe")

#: Seconds before a lost link is made anew; doubled at each failure, up to the second.
_FIRST_PAUSE: Final = 0.05
_LAST_PAUSE: Final = 1.0
#: Channels that are tried for the probe: even one slot of a Cluster's 16,384 is found by so many.
_MAX_TRIES: Final = 100_000
#: Channels of one write: a node with a hundred thousand must not write them in one piece.
_MAX_CHANNELS: Final = 500


class Bus:
    """The channels of one node.

    Args:
        client: The client.
        probe_channel: Names a channel for probes by a number; enough of them are of every slot, and
            no other node may use them.
        interval: Seconds between two probes of a link, and that one may take to come back.
        on_message: Called with a channel and what was published on it; must not raise.
        on_gap: Called with a channel when it is subscribed anew, before anything newer comes from
            it: something may have been missed. Must not raise.
    """

    def __init__(
        self,
        client: RedisClient,
        probe_channel: Callable[[int], str],
        *,
        interval: float,
        on_message: Callable[[bytes, bytes], None],
        on_gap: Callable[[bytes], None],
    ) -> None:
        self.client = client
        #: Kept, as asking asyncio for it costs a system call for each channel.
        self.loop = asyncio.get_running_loop()
        self.probe_channel = probe_channel
        self.interval = interval
        self.on_message = on_message
        self.on_gap = on_gap
        self._links: dict[str, PubSubLink] = {}

    @property
    def healthy(self) -> bool:
        """Whether every link has brought its last probe back."""
        return all(link.healthy for link in self._links.values())

    @property
    def channels(self) -> int:
        """How many channels are listened to."""
        return sum(len(link.channels) for link in self._links.values())

    async def subscribe(self, channel: str) -> None:
        """Listen to a channel, from before this returns until `unsubscribe`.

        Raises:
            Error: ``unavailable``: the link is down, or the server does not answer in time. The
                channel is subscribed all the same as soon as may be.
        """
        await (await self._link(channel)).subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        """Listen to a channel no more."""
        for link in self._links.values():
            link.unsubscribe(channel)

    async def close(self) -> None:
        """Close all links."""
        await asyncio.gather(*(link.close() for link in self._links.values()))

    async def _link(self, channel: str) -> "PubSubLink":
        shard = await self.client.shard(channel)
        link = self._links.get(shard)
        if link is None:
            link = self._links[shard] = PubSubLink(self, shard)
        return link

    async def move(self, origin: "PubSubLink") -> bool:
        """Channels of a lost link that another server has by now go to that one's link.

        Returns:
            Whether the link is still wanted.

        Raises:
            Error: ``unavailable``: it is not known who has them.
        """
        await self.client.refresh_topology()
        for channel in list(origin.channels):
            link = await self._link(channel)
            if link is not origin:
                link.take(channel, origin)
        wanted = bool(origin.channels) or len(self._links) == 1
        if not wanted:
            del self._links[origin.shard]
        return wanted


class PubSubLink:
    """A connection to one server, that is made anew whenever it is lost.

    Args:
        bus: Whose it is.
        shard: The server.
    """

    def __init__(self, bus: Bus, shard: str) -> None:
        self.shard = shard
        #: Whether it is up and has brought its last probe back.
        self.healthy = False
        #: What it is to listen to, and whether the server has confirmed it before.
        self.channels: dict[str, bool] = {}
        self._bus = bus
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._connection: Any = None
        #: Commands that are to be written: a command's name by its channel, the last one counts.
        self._commands: dict[str, str] = {}
        self._writing = asyncio.Event()
        #: Channels that were given up, and whose confirmation is still to come.
        self._leaving: Counter[str] = Counter()
        self._heard = 0
        self._probe_channel = ""
        self._probe_sent = 0
        self._probe_seen = asyncio.Event()
        self._log = structlog.get_logger("jackfield").bind(shard=shard or None)
        self._task = bus.loop.create_task(self._run())

    async def subscribe(self, channel: str) -> None:
        """Listen to a channel; returns once the server has confirmed it.

        Raises:
            Error: ``unavailable``: it has not in time.
        """
        if self.channels.get(channel) and self._connection is not None:
            return
        future: asyncio.Future[None] = self._bus.loop.create_future()
        self._waiting.setdefault(channel, []).append(future)
        if channel not in self.channels:
            self.channels[channel] = False
            self._command("SSUBSCRIBE", channel)
        await self._bus.client.wait(future)

    def unsubscribe(self, channel: str) -> None:
        """Listen to a channel no more."""
        self._waiting.pop(channel, None)
        if self.channels.pop(channel, None) is not None:
            self._command("SUNSUBSCRIBE", channel)

    def take(self, channel: str, origin: "PubSubLink") -> None:
        """Listen to a channel that another link has listened to."""
        known, waiting = origin.give_up(channel)
        if known is None:  # unsubscribed meanwhile
            return
        self.channels[channel] = known
        self._waiting.setdefault(channel, []).extend(waiting)
        self._command("SSUBSCRIBE", channel)

    def give_up(self, channel: str) -> "tuple[bool | None, list[asyncio.Future[None]]]":
        """Have another link listen to a channel; returns what that one has to know of it."""
        return self.channels.pop(channel, None), self._waiting.pop(channel, [])

    async def close(self) -> None:
        """Close the connection for good."""
        self._task.cancel()
        await asyncio.wait([self._task])

    def _command(self, command: str, channel: str) -> None:
        # Without a connection there is nobody to tell: a new one begins with all there is.
        if self._connection is not None:
            self._commands[channel] = command
            self._writing.set()

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        wanted = True
        while wanted:
            cause = await self._serve()
            if cause is None:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)
            # If this fails Redis is away, and so is the link that is tried next.
            with contextlib.suppress(Error):
                wanted = await self._bus.move(self)

    async def _serve(self) -> BaseException | None:
        """Serve one connection to its end; returns why there was none, if there was none."""
        try:
            await self._connect()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self._write())
                tasks.create_task(self._probe())
        except Error as exc:
            return exc
        except ExceptionGroup as group:
            self._report(group.exceptions[0])
        finally:
            self.healthy = False
            await self._disconnect()
        return None

    def _report(self, cause: BaseException) -> None:
        if isinstance(cause, Error | RedisError | OSError):
            self._log.warning("the link to pub/sub is lost", cause=str(cause))
        else:
            self._log.error("the link to pub/sub failed", exc_info=cause)

    async def _connect(self) -> None:
        await self._choose_probe_channel()
        self._connection = await self._bus.client.link(self.shard)
        self._commands = dict.fromkeys((self._probe_channel, *self.channels), "SSUBSCRIBE")
        self._writing.set()

    async def _choose_probe_channel(self) -> None:
        """One that this server has: in a Cluster each has some of the slots, and they may move."""
        if self._probe_channel and await self._bus.client.shard(self._probe_channel) == self.shard:
            return
        for number in range(_MAX_TRIES):
            channel = self._bus.probe_channel(number)
            if await self._bus.client.shard(channel) == self.shard:
                self._probe_channel = channel
                return
        raise Error("unavailable", "The server has none of the Cluster's slots.")

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._commands.clear()
        self._leaving.clear()
        if connection is not None:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)

    async def _read(self) -> None:
        read = self._connection.read_response
        on_message = self._bus.on_message
        probe_channel = self._probe_channel.encode()
        while True:
            kind, channel, data = await read(disconnect_on_error=False)
            self._heard += 1
            if kind == b"smessage":
                if channel != probe_channel:
                    on_message(channel, data)
                elif data == b"%d" % self._probe_sent:
                    self._probe_seen.set()
            elif kind == b"ssubscribe":
                self._subscribed(channel)
            elif kind == b"sunsubscribe":
                self._unsubscribed(str(channel, "utf-8"))

    def _unsubscribed(self, channel: str) -> None:
        if self._leaving[channel] > 1:
            self._leaving[channel] -= 1
        elif channel in self._leaving:
            del self._leaving[channel]
        elif channel in self.channels:  # nobody asked for it: the slot goes to another server
            raise ConnectionResetError("the server has given up a channel")

    def _subscribed(self, channel: bytes) -> None:
        name = str(channel, "utf-8")
        for future in self._waiting.pop(name, ()):
            if not future.done():
                future.set_result(None)
        known = self.channels.get(name)
        if known is None:
            return
        self.channels[name] = True
        if known:
            self._bus.on_gap(channel)

    async def _write(self) -> None:
        while True:
            await self._writing.wait()
            self._writing.clear()
            commands, self._commands = self._commands, {}
            pairs = [(command, channel) for channel, command in commands.items()]
            self._leaving.update(channel for command, channel in pairs if command == "SUNSUBSCRIBE")
            for start in range(0, len(pairs), _MAX_CHANNELS):
                # One command for each: those of a Cluster are of many slots.
                packed = self._connection.pack_commands(pairs[start : start + _MAX_CHANNELS])
                await self._connection.send_packed_command(packed)

    async def _probe(self) -> None:
        interval = self._bus.interval
        loop = self._bus.loop
        while True:
            due = loop.time() + interval
            self._probe_sent += 1
            self._probe_seen.clear()
            try:
                async with asyncio.timeout_at(due):
                    await self._bus.client.run(_PROBE, [self._probe_channel], [self._probe_sent])
            except (Error, TimeoutError):  # Redis is away; the link may well outlive that
                self.healthy = False
            else:
                await self._probe_back(due)
                if not self.healthy:
                    self._log.info("the link to pub/sub is up", channels=len(self.channels))
                self.healthy = True
            await asyncio.sleep(due - loop.time())

    async def _probe_back(self, due: float) -> None:
        """Wait for the probe; while other things come the link is only behind, and not dead."""
        while True:
            heard = self._heard
            try:
                async with asyncio.timeout_at(due):
                    await self._probe_seen.wait()
                    return
            except TimeoutError:
                if self._heard == heard:
                    raise ConnectionResetError("a probe did not come back in time") from None
            self.healthy = False
            due += self._bus.interval
