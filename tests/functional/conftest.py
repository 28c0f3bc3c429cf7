"""The Valkey server that tests share."""

import asyncio
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from jackfield.store.embedded import embedded_valkey


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The address of a real Valkey, one for the whole run: each test keeps to keys of its own."""
    # In a thread of its own, so that this loop and those of the tests never meet.
    with ThreadPoolExecutor(1) as thread, asyncio.Runner() as runner:
        valkey = embedded_valkey()
        yield thread.submit(runner.run, valkey.__aenter__()).result()
        thread.submit(runner.run, valkey.__aexit__(None, None, None)).result()
        thread.submit(runner.close).result()


@pytest.fixture
def config(valkey_url: str) -> dict[str, Any]:
    """A configuration with the shared Valkey, and a prefix that no other test has."""
    return {"redis": {"url": valkey_url, "prefix": f"test-{secrets.token_hex(6)}"}}
