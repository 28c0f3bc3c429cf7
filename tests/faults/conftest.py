"""A Valkey of each test's own, to do bad things to."""

from collections.abc import AsyncIterator

import pytest

from tests.support.proxy import Proxy, proxied
from tests.support.valkeys import Valkey, single_valkey


@pytest.fixture
async def valkey() -> AsyncIterator[Valkey]:
    """One that keeps nothing when it ends."""
    async with single_valkey() as valkey:
        yield valkey


@pytest.fixture
async def proxy(valkey: Valkey) -> AsyncIterator[Proxy]:
    """The line to it, which can be broken."""
    async with proxied(valkey.url) as proxy:
        yield proxy
