"""The keys that an issuer publishes: fetched seldom, kept, and never at a stranger's command."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from jackfield.auth import Credentials
from jackfield.auth.jwks import KeySet
from jackfield.auth.jwt import JwtAuthenticator
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from tests.support.tokens import AUDIENCE, ISSUER, Issuer, issuing, jwk, private_key, token
from tests.support.waiting import wait_until

ES256 = private_key("P-256")
OTHER = private_key("P-256", 1)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as running:
        running.keys = [jwk("ES256", "P-256", kid="one")]
        yield running


@asynccontextmanager
async def keys_of(issuer: Issuer, *algorithms: str, **timing: float) -> AsyncIterator[KeySet]:
    keys = KeySet(issuer.url, algorithms or ("ES256",), **timing)
    await keys.start()
    try:
        yield keys
    finally:
        await keys.close()


@asynccontextmanager
async def authenticator(issuer: Issuer) -> AsyncIterator[JwtAuthenticator]:
    section = {
        "algorithms": ["ES256", "RS256"],
        "jwks_url": issuer.url,
        "audience": AUDIENCE,
        "issuer": ISSUER,
    }
    loaded = JwtAuthenticator.config_schema.load(section)
    assert isinstance(loaded, dict)
    async with JwtAuthenticator(loaded) as by:
        yield by


async def identify(by: JwtAuthenticator, text: str) -> Identity | None:
    request: Any = SimpleNamespace()
    return await by.authenticate(Credentials("bearer", text, request))


def signed(key: Any = ES256, kid: str | None = "one") -> str:
    return token(key, "ES256", None if kid is None else {"kid": kid})


async def test_a_token_is_verified_with_the_key_that_it_names(issuer: Issuer) -> None:
    issuer.keys.append(jwk("ES256", "P-256", 1, kid="two"))
    async with authenticator(issuer) as by:
        assert await identify(by, signed())
        assert await identify(by, signed(OTHER, "two"))
        with pytest.raises(Error, match="signature is wrong"):
            await identify(by, signed(OTHER, "one"))
        with pytest.raises(Error, match="There is no such key"):
            await identify(by, signed(kid=None))
    assert issuer.fetched == 1


async def test_a_token_that_names_none_is_verified_with_the_only_key_there_is(
    issuer: Issuer,
) -> None:
    issuer.keys.append(jwk("RS256", "RSA", kid="of another kind"))
    async with authenticator(issuer) as by:
        assert await identify(by, signed(kid=None))


async def test_ten_thousand_random_keys_cost_one_fetch(issuer: Issuer) -> None:
    async with authenticator(issuer) as by:
        for _ in range(10_000):
            forged = f"{signed(OTHER, secrets.token_hex(8)).rpartition('.')[0]}.AAAA"
            with pytest.raises(Error) as caught:
                await identify(by, forged)
            assert caught.value.code == "unauthenticated"
        # Those who are known are not kept waiting.
        assert await identify(by, signed())
    assert issuer.fetched == 1


async def test_a_new_key_is_learnt_from_the_first_token_that_names_it(issuer: Issuer) -> None:
    async with keys_of(issuer, cooldown=0) as keys:
        issuer.keys = [jwk("ES256", "P-256", 1, kid="two")]
        assert await keys.fetch("two", "ES256") is not None
        assert keys.find("one", "ES256") is None  # withdrawn


async def test_all_who_ask_at_once_share_one_fetch(issuer: Issuer) -> None:
    async with keys_of(issuer, cooldown=0) as keys:
        asked = [keys.fetch(secrets.token_hex(4), "ES256") for _ in range(50)]
        assert set(await asyncio.gather(*asked)) == {None}
    assert issuer.fetched == 2


async def test_only_so_many_wait_for_a_fetch(issuer: Issuer) -> None:
    async with keys_of(issuer, cooldown=0) as keys:
        asked = [keys.fetch(secrets.token_hex(4), "ES256") for _ in range(500)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, Error)]
    assert len(refused) == 400
    assert {each.code for each in refused} == {"unavailable"}


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=503),
        web.Response(status=302, headers={"Location": "/jwks.json"}),
        web.Response(text="<html>"),
        web.Response(text="[]"),
        web.Response(text='{"keys":{}}'),
        web.Response(text='{"keys":[]}'),
        web.Response(text='{"keys":[1]}'),
        web.Response(text='{"keys":[{"kty":"oct","k":"AAAA","kid":"one"}]}'),
        web.Response(body=b"[" * 300_000),
        web.Response(body=b"[" * 100_000),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:20] if answer.body else b''!r}",
)
async def test_what_is_no_key_set_leaves_the_last_one_in_force(
    issuer: Issuer, answer: web.Response
) -> None:
    async with keys_of(issuer, cooldown=0) as keys:
        issuer.answer = answer
        assert await keys.fetch("two", "ES256") is None
        assert keys.find("one", "ES256") is not None
    assert issuer.fetched == 2


async def test_keys_are_fetched_again_before_anybody_needs_them(issuer: Issuer) -> None:
    async with keys_of(issuer, interval=0.01) as keys:
        assert keys.find("two", "ES256") is None
        issuer.keys.append(jwk("ES256", "P-256", 1, kid="two"))
        await wait_until(lambda: keys.find("two", "ES256") is not None)


async def test_an_issuer_that_is_away_at_the_start_keeps_nobody_from_starting(
    issuer: Issuer,
) -> None:
    issuer.answer = web.Response(status=500)
    async with keys_of(issuer) as keys:
        with pytest.raises(Error) as caught:
            await keys.fetch("one", "ES256")
        assert caught.value.code == "unavailable"
        issuer.answer = None
        await wait_until(lambda: keys.find("one", "ES256") is not None)


async def test_only_keys_to_verify_with_are_taken(issuer: Issuer) -> None:
    issuer.keys = [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMw", "kid": "oct"},
        jwk("ES256", "P-256", kid="enc", use="enc"),
        jwk("ES256", "P-256", kid="sign", key_ops=["sign"]),
        jwk("ES256", "P-256", kid="odd", key_ops="verify"),
        jwk("ES384", "P-384", kid="384"),
        jwk("RS256", "short RSA", kid="short"),
        jwk("RS256", "RSA", kid="oaep", alg="RSA-OAEP"),
        jwk("RS256", "RSA", kid="512", alg="RS512"),
        {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "broken"},
        {"kty": "EC", "crv": "P-256", "kid": "empty"},
        {"kid": "nothing"},
        jwk("ES256", "P-256", kid=7),
        jwk("RS256", "RSA", kid="good", use="sig", key_ops=["verify"], x5c=["..."]),
        jwk("ES256", "P-256", kid="good"),
    ]
    async with keys_of(issuer, "ES256", "RS256", "RS384") as keys:
        found = {
            (each["kid"], algorithm)
            for each in issuer.keys
            for algorithm in ("ES256", "RS256", "RS384", "RS512", "ES384")
            if isinstance(each.get("kid"), str) and keys.find(each["kid"], algorithm)
        }
        assert found == {("good", "RS256"), ("good", "RS384"), ("good", "ES256")}


async def test_a_key_is_used_for_no_other_algorithm_than_its_own(issuer: Issuer) -> None:
    issuer.keys = [jwk("RS256", "RSA", kid="one", alg="RS256")]
    async with keys_of(issuer, "RS256", "PS256", "ES256") as keys:
        assert keys.find("one", "RS256") is not None
        assert keys.find("one", "PS256") is None
        assert keys.find("one", "ES256") is None
