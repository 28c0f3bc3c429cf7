"""To follow a topic over as many connections as it takes."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping

from jackfield.wire.position import Position

from .backoff import Backoff
from .connection import BUFFER_BYTES, connect
from .errors import ConnectionClosed, ConnectionFailed, RequestError, retry_after
from .subscription import Event, Gap, Presence

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
    the server does not have them any more, there is a `Gap`. What may pass is waited for without
    end, and told to the logger `jackfield.client`: a server that is away or overloaded, a lost
    line, a retryable error. Anything else is raised.

    The wait is a random one up to `backoff`, whose bound doubles with each failure until a
    connection has held for `max_backoff`. Where the server names a time, it is on top of that.

    Args:
        url: The address of the socket, `ws://` or `wss://`.
        topic: The topic's name.
        token: What proves who this is, sent as `Authorization: Bearer`.
        headers: Further headers of each handshake.
        since: The position of an event, or where a subscription stood, to begin after. None for
            what comes from now on.
        timeout: Seconds until a server must have welcomed this client, and for each answer.
        backoff: Seconds.
        max_backoff: Seconds.
        buffer_bytes: Bytes of events that may wait to be read here; more is left to the topic's
            history.

    Raises:
        ConnectionFailed: The server refused, or is none.
        ConnectionClosed: The server closed the connection and does not want it again.
        RequestError: The server refused the subscription.
    """
    waits = Backoff(backoff, max_backoff)
    while True:
        try:
            async with (
                connect(
                    url, token=token, headers=headers, timeout=timeout, buffer_bytes=buffer_bytes
                ) as client,
                client.subscribe(topic, since=since, timeout=timeout) as subscription,
            ):
                waits.hold()
                since = subscription.position
                async for item in subscription:
                    since = subscription.position
                    if not isinstance(item, Presence):
                        yield item
        except (ConnectionFailed, ConnectionClosed, RequestError, TimeoutError) as error:
            after = retry_after(error)
            if after is None:
                raise
            wait = waits.draw(after)
            words = str(error) or "The server did not answer in time."
            _log.warning("Following %s again in %.1f s. %s", topic, wait, words)
        await asyncio.sleep(wait)
