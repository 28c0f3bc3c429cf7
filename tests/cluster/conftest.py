"""The Cluster that tests share, and clients."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import pytest

from jackfield.redis.client import RedisClient
from tests.support.valkey_cluster import ValkeyCluster, valkey_cluster
from tests.support.waiting import redis_settings

#: Makes a client of an address, and closes it at the end of the test.
MakeClient = Callable[..., RedisClient]


@pytest.fixture(scope="session")
def cluster() -> Iterator[ValkeyCluster]:
    """A real Cluster of three masters for the whole run: each test keeps to keys of its own."""
    # In a thread of its own, so that this loop and those of the tests never meet.
    with ThreadPoolExecutor(1) as thread, asyncio.Runner() as runner:
        running = valkey_cluster()
        yield thread.submit(runner.run, running.__aenter__()).result()
        thread.submit(runner.run, running.__aexit__(None, None, None)).result()
        thread.submit(runner.close).result()


@pytest.fixture
def make_client(stack: AsyncExitStack) -> MakeClient:
    def make(url: str, **settings: Any) -> RedisClient:
        client = RedisClient(redis_settings(**settings), url)
        stack.push_async_callback(client.close)
        return client

    return make


@pytest.fixture
def client(cluster: ValkeyCluster, make_client: MakeClient) -> RedisClient:
    return make_client(cluster.url)


@pytest.fixture
def name() -> str:
    """What the keys of a test begin with."""
    return f"test-{secrets.token_hex(6)}"
