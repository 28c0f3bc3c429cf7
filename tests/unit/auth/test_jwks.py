"""A key set is fetched seldom, kept when it can't be, and never at a stranger's command."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
import pytest

from jackfield.auth import jwks as module
from jackfield.auth.jwks import KeySet
from jackfield.wire.errors import Error
from tests.support.tokens import jwk
from tests.support.waiting import wait_until

ONE = jwk("ES256", "P-256", kid="one")
TWO = jwk("ES256", "P-256", 1, kid="two")
RSA = jwk("RS256", "RSA", kid="rsa")


def document(*keys: Any) -> bytes:
    return msgspec.json.encode({"keys": keys})


class Published(KeySet):
    """The keys of an issuer that answers as it is told, when it is told."""

    def __init__(self, *keys: Any, **timing: float) -> None:
        super().__init__("http://issuer.test/keys", ("ES256", "RS256"), **timing)
        self.answer: bytes | Exception = document(*keys)
        self.downloads = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def _download(self) -> bytes:
        self.downloads += 1
        await self.go_on.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def names(self) -> set[str | None]:
        return {key_id for key_id, _ in self._keys}


@pytest.fixture
async def started() -> AsyncIterator[Callable[..., Any]]:
    """Starts key sets, and closes them."""
    open_sets: list[Published] = []

    async def start(*keys: Any, **timing: float) -> Published:
        published = Published(*keys, **timing)
        open_sets.append(published)
        await published.start()
        return published

    yield start
    for published in open_sets:
        await published.close()


async def test_keys_are_found_by_their_id_and_algorithm(started: Any) -> None:
    keys = await started(ONE, RSA)
    assert keys.find("one", "ES256").algorithms == ("ES256",)
    assert keys.find("rsa", "RS256") is not None
    for key_id, algorithm in (("one", "RS256"), ("two", "ES256"), ("", "ES256")):
        assert keys.find(key_id, algorithm) is None


async def test_a_token_that_names_no_key_needs_the_only_one_for_its_algorithm(
    started: Any,
) -> None:
    keys = await started(ONE, RSA)
    assert keys.find(None, "ES256") is keys.find("one", "ES256")
    keys = await started(ONE, TWO, RSA)
    assert keys.find(None, "ES256") is None
    assert keys.find(None, "RS256") is not None


async def test_of_two_keys_of_one_id_the_first_counts(started: Any) -> None:
    keys = await started(ONE, {**TWO, "kid": "one"})
    alone = await started(ONE)
    numbers = [each.find("one", "ES256").material.public_numbers() for each in (keys, alone)]
    assert numbers[0] == numbers[1]


async def test_keys_that_are_of_no_use_are_left_out_and_the_set_is_bounded(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_KEYS", 3)
    keys = await started({"kty": "oct", "k": "x", "kid": "secret"}, {**ONE, "kid": 5}, TWO, RSA)
    assert keys.names() == {"two"}
    keys = await started({**ONE, "kid": 5})  # an id of another type is none
    assert keys.names() == {None}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        b"\xff",
        b"[]",
        b'{"keys":5}',
        b'{"keys":[5]}',
        b'{"keys":[]}',
        b'{"keys":[{"kty":"oct","k":"x"}]}',
        b'{"keys":' + b"[" * 5000 + b"]" * 5000 + b"}",
        aiohttp.ClientError("gone"),
        TimeoutError(),
        OSError("no route"),
    ],
    ids=lambda value: str(value)[:16],
)
async def test_what_is_no_key_set_leaves_the_last_one_in_force(
    started: Any, answer: bytes | Exception, logged: Callable[[], str]
) -> None:
    keys = await started(ONE, cooldown=0)
    keys.answer = answer
    for _ in range(2):
        assert await keys.fetch("two", "ES256") is None
    assert keys.find("one", "ES256") is not None
    assert logged().count("the keys of an issuer can't be fetched") == 1
    keys.answer = document(TWO)
    assert await keys.fetch("two", "ES256") is not None
    assert keys.find("one", "ES256") is None
    assert logged().count('"fetched the keys of an issuer"') == 2


async def test_before_any_key_was_fetched_nobody_is_refused_for_good(started: Any) -> None:
    keys = await started()
    with pytest.raises(Error, match="unavailable") as refused:
        await keys.fetch("one", "ES256")
    assert refused.value.extra["retry_after"] > 0


async def test_unknown_keys_have_the_set_fetched_once_in_a_while(started: Any) -> None:
    keys = await started(ONE, cooldown=3600)
    for name in ("two", "three"):
        assert await keys.fetch(name, "ES256") is None
        assert 3500 < keys.wait_for(name, "ES256") <= 3600
    assert keys.downloads == 1
    keys._full_at -= 3600  # the while is over
    keys.answer = document(ONE, TWO)
    found = await asyncio.gather(*(keys.fetch("two", "ES256") for _ in range(50)))
    assert None not in found
    assert keys.downloads == 2
    assert await keys.fetch("three", "ES256") is None
    assert keys.downloads == 2


async def test_some_fetches_are_saved_up_for_unknown_keys(started: Any) -> None:
    keys = await started(ONE, cooldown=3600)
    keys._full_at -= 9 * 3600  # nobody has asked for long
    for number in range(10):
        await keys.fetch(f"unknown-{number}", "ES256")
    assert keys.downloads == 1 + 4


async def test_a_key_that_can_not_be_looked_for_yet_is_fetched_as_soon_as_may_be(
    started: Any,
) -> None:
    keys = await started(ONE, cooldown=0.05)
    keys.answer = document(ONE, TWO)
    assert await keys.fetch("two", "ES256") is None
    assert keys.wait_for("two", "ES256") > 0
    await wait_until(lambda: keys.find("two", "ES256") is not None)
    assert keys.downloads == 2


async def test_a_key_that_was_looked_for_and_is_not_there_is_not_waited_for(started: Any) -> None:
    keys = await started(ONE, cooldown=0)
    assert await keys.fetch("two", "ES256") is None
    assert keys.wait_for("two", "ES256") == 0
    keys.answer = OSError("no route")
    await keys.fetch("two", "ES256")
    assert keys.wait_for("two", "ES256") > 0  # the issuer may have it by now


async def test_only_so_many_wait_for_a_fetch_and_a_cancelled_one_frees_its_place(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_WAITING", 2)
    keys = await started(ONE, cooldown=0)
    keys.go_on.clear()
    waiting = [asyncio.create_task(keys.fetch("two", "ES256")) for _ in range(2)]
    await wait_until(lambda: keys._waiting == 2)
    with pytest.raises(Error, match="unavailable"):
        await keys.fetch("two", "ES256")
    waiting[0].cancel()
    await asyncio.wait([waiting[0]])
    waiting.append(asyncio.create_task(keys.fetch("two", "ES256")))
    await wait_until(lambda: keys._waiting == 2)
    keys.go_on.set()
    assert await asyncio.gather(*waiting[1:]) == [None, None]
    assert keys.downloads == 2


async def test_the_set_is_kept_fresh(started: Any) -> None:
    keys = await started(ONE, interval=0)
    keys.answer = document(TWO)
    await wait_until(lambda: keys.find("two", "ES256") is not None)
    assert keys.find("one", "ES256") is None


async def test_after_a_failure_the_next_fetch_is_soon_and_then_later_and_later(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.0001)
    monkeypatch.setattr(module, "_LAST_PAUSE", 0.001)
    keys = await started(interval=3600)
    assert keys.names() == set()
    await wait_until(lambda: keys.downloads > 5)
    keys.answer = document(ONE)
    await wait_until(lambda: keys.find("one", "ES256") is not None)
    downloads = keys.downloads
    for _ in range(20):
        await asyncio.sleep(0)
    assert keys.downloads == downloads


async def test_a_set_that_is_closed_while_it_is_fetched_leaves_nothing_behind() -> None:
    keys = Published(ONE, cooldown=0)
    await keys.start()
    keys.go_on.clear()
    waiting = asyncio.create_task(keys.fetch("two", "ES256"))
    await wait_until(lambda: keys._waiting)
    await keys.close()
    assert await waiting is None
    assert keys._fetching is not None
    assert keys._fetching.cancelled()
    never_started = Published()
    await never_started.close()
