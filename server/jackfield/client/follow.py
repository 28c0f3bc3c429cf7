"""Follow a topic, reconnecting whenever the connection is lost."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping

from jackfield.wire.position import Position

from .backoff import Backoff
from .connection import BUFFER_BYTES, connect
from .errors import ConnectionClosed, ConnectionFailed, RequestError, retry_after
from .events import Event, Gap, Presence

_log = logging.getLogger("jackfield.client")


async def follow(
    url: str,
    topic: str,
    *,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    since: Position | None = None,
    timeout: float | None = 10.0,  # noqa: ASYNC109 - it bounds each answer, not the iteration
    backoff: float = 0.1,
    max_backoff: float = 5.0,
    buffer_bytes: int = BUFFER_BYTES,
) -> AsyncGenerator[Event | Gap, None]:
    """Iterate over the events of a topic, connecting again whenever the connection is lost.

    Events come in order and none comes twice, over all connections. Where some are missing because
    the server no longer has them, there is a `Gap`. After a temporary failure (a server that is
    away or overloaded, a lost connection, a retryable error) it tries again, without end, and logs
    each wait to the logger `jackfield.client`. Any other failure is raised.

    The wait is random, up to a bound that begins at `backoff` and doubles with each failure, at
    most to `max_backoff`; a connection that has lasted for `max_backoff` resets it. Where the
    server names a time to wait, the random one comes on top.

    Args:
        url: The address of the socket, `ws://` or `wss://`.
        topic: The topic's name.
        token: The token that authenticates this client, sent as `Authorization: Bearer`.
        headers: Further headers of each handshake.
        since: The position of an event or of an earlier subscription, to begin after. None to get
            only what comes from now on.
        timeout: Seconds until the server must have welcomed this client, and for each answer; None
            for no limit.
        backoff: The first bound of the random wait, in seconds.
        max_backoff: What that bound never exceeds, in seconds.
        buffer_bytes: Bytes of events that may wait to be read here; more are read later from the
            topic's history.

    Raises:
        ConnectionFailed: The server refused, or is not a Jackfield server.
        ConnectionClosed: The server closed the connection and asked not to reconnect.
        RequestError: The server refused the subscription.
    """
    delays = Backoff(backoff, max_backoff)
    while True:
        try:
            async with (
                connect(
                    url, token=token, headers=headers, timeout=timeout, buffer_bytes=buffer_bytes
                ) as client,
                client.subscribe(topic, since=since, timeout=timeout) as subscription,
            ):
                delays.succeeded()
                since = subscription.position
                async for item in subscription:
                    since = subscription.position
                    if not isinstance(item, Presence):
                        yield item
        except (ConnectionFailed, ConnectionClosed, RequestError, TimeoutError) as error:
            after = retry_after(error)
            if after is None:
                raise
            delay = delays.next_delay(after)
            reason = str(error) or "The server did not answer in time."
            _log.warning("Following %s again in %.1f s. %s", topic, delay, reason)
        await asyncio.sleep(delay)
