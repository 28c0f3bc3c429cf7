"""What tests of every kind share: a Valkey server, the log that they read, and property tests."""

import asyncio
import contextlib
import io
import logging
import re
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from jackfield.config import LoggingSettings
from jackfield.redis.embedded import embedded_valkey
from jackfield.telemetry import log
from tests.support.paths import DOCS

# A busy machine is no failure: no deadline, and slow generation is let pass.
hypothesis_settings.register_profile(
    "jackfield", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("jackfield")

# Who runs the tests in the background has them ignore SIGINT, and so all that they start: what is
# tested here is told to stop by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: What tests do behind the servers' backs, and no server does.
_FOR_TESTS: Final = "+blpop +config|set +dbsize +echo +flushall +keys +rpush +scan +type +zcard"


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The address of a real Valkey, one for the whole run: each test keeps to keys of its own.

    Whoever uses it is the user whose rights the documentation tells, and may do no more.
    """
    # In a thread of its own, so that this loop and those of the tests never meet.
    with ThreadPoolExecutor(1) as thread, asyncio.Runner() as runner:
        valkey = embedded_valkey()
        url = thread.submit(runner.run, valkey.__aenter__()).result()
        user, password = thread.submit(runner.run, _add_user(url)).result()
        yield url.replace("unix://", f"unix://{user}:{password}@", 1)
        thread.submit(runner.run, valkey.__aexit__(None, None, None)).result()
        thread.submit(runner.close).result()


async def _add_user(url: str) -> tuple[str, str]:
    """Add the user of the documentation, for keys of any test's prefix; its name and password."""
    page = DOCS / "operations/redis.md"
    (rule,) = re.findall(r"^user (jackfield on .*)$", page.read_text("utf-8"), re.MULTILINE)
    name, on, password, *rights = rule.replace("jackfield:*", "test*").split()
    async with Redis.from_url(url) as redis:
        call: Any = redis.execute_command  # redis-py has no types for it
        await call("ACL SETUSER", name, on, password, *rights, *_FOR_TESTS.split())
    return name, password.removeprefix(">")


@pytest.fixture
def logged() -> Iterator[Callable[[], str]]:
    """All that was logged so far, as it is written."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with contextlib.redirect_stderr(io.StringIO()) as written:
        log.configure(LoggingSettings(format="json", level="debug"))
    yield written.getvalue
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is to be closed when the test has ended."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def shared_valkey(valkey_url: str) -> Iterator[SyncRedis]:
    """A plain client of the shared Valkey."""
    with SyncRedis.from_url(valkey_url, protocol=2) as redis:
        yield redis


@pytest.fixture
def config(valkey_url: str, shared_valkey: SyncRedis) -> Iterator[dict[str, Any]]:
    """A configuration with the shared Valkey, and a prefix that no other test has.

    When the test and its servers have ended no key of the prefix may be without a TTL. All are
    removed then, so that the look at the next test's is as cheap.
    """
    prefix = f"test-{secrets.token_hex(6)}"
    yield {"redis": {"url": valkey_url, "prefix": prefix}}
    keys = list(shared_valkey.scan_iter(f"{prefix}:*", count=1000))
    if keys:
        with shared_valkey.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.pttl(key)
            pipeline.delete(*keys)
            *ttls, _ = pipeline.execute()
        # A key that has gone by now has the TTL -2.
        assert [key for key, ttl in zip(keys, ttls, strict=True) if ttl == -1] == []
