"""A Valkey of its own for the servers that are measured with Redis: one for all of them."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from redis import Redis

from jackfield.redis.embedded import embedded_valkey


class Valkey(NamedTuple):
    """A Valkey that runs.

    Attributes:
        url: Its address, ``unix://…``.
        pid: Its process.
    """

    url: str
    pid: int


@contextlib.contextmanager
def running_valkey() -> Iterator[Valkey]:
    """Run a Valkey on a unix socket while the context lasts.

    Raises:
        EmbeddedError: It does not start.
    """
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        url = runner.run(stack.enter_async_context(embedded_valkey()))
        try:
            with Redis.from_url(url) as redis:
                yield Valkey(url, redis.info("server")["process_id"])
        finally:
            runner.run(stack.aclose())
