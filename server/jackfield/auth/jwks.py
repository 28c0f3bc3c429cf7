"""`KeySet`: fetch the public keys that an issuer publishes (RFC 7517), and keep them fresh.

They are fetched in the background. A client can name an unknown key, and so have the set fetched;
however many do, that happens once in a while at most. If it can't be fetched, the last one stays in
force.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import msgspec
import structlog

from jackfield.wire.errors import Error
from jackfield.wire.malformed import UNDECODABLE

from .keys import Key, jwk_key

_log = structlog.get_logger("jackfield")

#: Seconds between two fetches that no unknown key asks for. A withdrawn key is used no longer than
#: this, and issuers announce a new one for longer.
_INTERVAL: Final = 600.0
#: Seconds from one fetch to the next that an unknown key may cause.
_COOLDOWN: Final = 30.0
#: Seconds that a fetch may take.
_TIMEOUT: Final = 5.0
#: Seconds from a fetch that failed to the next; doubled each time, up to the second.
_FIRST_PAUSE: Final = 1.0
_LAST_PAUSE: Final = 60.0
#: Of a set: a key has 1.5 KB with its certificates, and issuers publish a few.
_MAX_BYTES: Final = 262_144
_MAX_KEYS: Final = 100
#: Clients that wait for one fetch; the others are told to come back.
_MAX_WAITING: Final = 100


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


_read: Final = msgspec.json.Decoder(_Document).decode


class _UnusableError(Exception):
    """What came is not a key set, or has no usable key."""


class KeySet:
    """The keys of one issuer.

    Args:
        url: Where they are published.
        algorithms: Those that may be used at all.
        interval: Seconds between two fetches that no unknown key asks for.
        cooldown: Seconds from one fetch to the next that an unknown key may cause.
    """

    def __init__(
        self,
        url: str,
        algorithms: Sequence[str],
        *,
        interval: float = _INTERVAL,
        cooldown: float = _COOLDOWN,
    ) -> None:
        self._url = url
        self._algorithms = algorithms
        self._interval = interval
        self._cooldown = cooldown
        # By key id and algorithm; by None and algorithm if it is the only one for that, as a token
        # need not name its key.
        self._keys: dict[tuple[str | None, str], Key] = {}
        self._is_fetched = False
        self._has_failed = False
        self._fetching: asyncio.Task[None] | None = None
        self._waiting = 0
        self._next_at = 0.0
        self._refreshing: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Fetch the keys, and keep them fresh until `close`; the issuer may be away."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT), auto_decompress=False
        )
        await asyncio.wait([self._start_fetch()])
        self._refreshing = asyncio.create_task(self._refresh_for_ever())

    async def close(self) -> None:
        """Stop fetching."""
        tasks = [task for task in (self._refreshing, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._session is not None:
            await self._session.close()

    def find(self, key_id: str | None, algorithm: str) -> Key | None:
        """Return a key that was fetched; None if there is none.

        Args:
            key_id: Its id; None for the only key for the algorithm.
            algorithm: The algorithm to use it with.
        """
        return self._keys.get((key_id, algorithm))

    async def fetch(self, key_id: str | None, algorithm: str) -> Key | None:
        """Fetch the set for a key that is not in it, if the last fetch is long enough ago.

        Args:
            key_id: Its id; None for the only key for the algorithm.
            algorithm: The algorithm to use it with.

        Returns:
            The key; None if the issuer has no such key, or was asked a moment ago.

        Raises:
            Error: ``unavailable``: no key was ever fetched, or too many wait for one.
        """
        now = asyncio.get_running_loop().time()
        is_fetching = self._fetching is not None and not self._fetching.done()
        if is_fetching or now >= self._next_at:
            if self._waiting >= _MAX_WAITING:
                raise Error("unavailable", retry_after=_TIMEOUT)
            self._waiting += 1
            try:
                await asyncio.wait([self._start_fetch()])
            finally:
                self._waiting -= 1
        if not self._is_fetched:
            raise Error("unavailable", retry_after=_LAST_PAUSE)
        return self.find(key_id, algorithm)

    def _start_fetch(self) -> "asyncio.Task[None]":
        """Begin a fetch, or return the one under way, which all share who wait for it."""
        if self._fetching is None or self._fetching.done():
            self._next_at = asyncio.get_running_loop().time() + self._cooldown
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _refresh_for_ever(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            if self._has_failed:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                # Servers that start together don't ask together for ever.
                await asyncio.sleep(self._interval * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            await asyncio.wait([self._start_fetch()])

    async def _fetch(self) -> None:
        """Fetch the set; keep the last one if that fails."""
        try:
            keys = self._read_keys(await self._download())
        except (aiohttp.ClientError, TimeoutError, OSError, _UnusableError) as exc:
            if not self._has_failed:
                _log.warning(
                    "the keys of an issuer can't be fetched",
                    url=self._url,
                    cause=str(exc) or type(exc).__name__,
                    keys=len(self._keys),
                )
            self._has_failed = True
            return
        if self._has_failed or not self._is_fetched:
            _log.info("fetched the keys of an issuer", url=self._url, keys=len(keys))
        self._keys = keys
        self._is_fetched, self._has_failed = True, False

    async def _download(self) -> bytes:
        assert self._session is not None  # noqa: S101 - `start` has made it
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._session.get(self._url, headers=headers, allow_redirects=False) as response:
            if response.status != 200:  # noqa: PLR2004 - OK
                raise _UnusableError(f"the answer is {response.status}")
            body = b""
            async for part in response.content.iter_any():
                body += part
                if len(body) > _MAX_BYTES:
                    raise _UnusableError(f"it has more than {_MAX_BYTES} bytes")
        return body

    def _read_keys(self, body: bytes) -> dict[tuple[str | None, str], Key]:
        """Return the usable keys of a set, as they are kept."""
        try:
            document = _read(body)
        except UNDECODABLE:
            raise _UnusableError("it is not a key set") from None
        usable: dict[tuple[str | None, str], Key] = {}
        by_algorithm: dict[str, list[Key]] = {}
        for jwk in document.keys[:_MAX_KEYS]:
            key = jwk_key(jwk, self._algorithms)
            if key is None:
                continue
            for algorithm in key.algorithms:
                by_algorithm.setdefault(algorithm, []).append(key)
                if isinstance(jwk.get("kid"), str):
                    usable.setdefault((jwk["kid"], algorithm), key)
        for algorithm, keys in by_algorithm.items():
            if len(keys) == 1:
                usable[None, algorithm] = keys[0]
        if not usable:
            raise _UnusableError("it has no key for the algorithms that are allowed")
        return usable
