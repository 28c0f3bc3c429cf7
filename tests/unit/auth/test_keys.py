"""Each algorithm is used with a key of its own kind, and with none other."""

import re
from typing import Any

import jwt
import pytest

from jackfield.auth.keys import (
    ALGORITHMS,
    SECRET_BYTES,
    KeyKind,
    jwk_key,
    kinds,
    public_key,
    secret_key,
)
from tests.support.tokens import jwk, private_pem, public_pem, token

#: An algorithm for each kind of public key.
PUBLIC = {"RSA": "RS256", "P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}


def refusal(make: Any, *args: Any) -> str:
    with pytest.raises(ValueError, match=re.compile(".")) as refused:
        make(*args)
    return str(refused.value)


def test_the_kinds_of_algorithms_are_each_told_once() -> None:
    assert kinds(["RS256", "ES256", "PS512", "RS512"]) == [KeyKind.RSA, KeyKind.P256]
    assert kinds([]) == []
    assert {name for name, kind in ALGORITHMS.items() if kind is KeyKind.SECRET} == set(
        SECRET_BYTES
    )


@pytest.mark.parametrize("algorithm", SECRET_BYTES)
def test_a_secret_must_be_as_long_as_its_hash(algorithm: str) -> None:
    needed = SECRET_BYTES[algorithm]
    assert secret_key("s" * needed, [algorithm]).algorithms == (algorithm,)
    words = refusal(secret_key, "s" * (needed - 1), [algorithm])
    assert f"{needed} bytes at least, and it has {needed - 1}" in words
    assert "sss" not in words


def test_for_several_algorithms_a_secret_must_be_long_enough_for_each() -> None:
    assert "48 bytes at least" in refusal(secret_key, "s" * 32, ["HS256", "HS384"])
    assert secret_key("s" * 48, ["HS256", "HS384"]).algorithms == ("HS256", "HS384")


@pytest.mark.parametrize("algorithms", [["HS256"], ["HS256", "HS512"]])
def test_a_secret_verifies_what_was_signed_with_it_and_nothing_else(algorithms: list[str]) -> None:
    key = secret_key("s" * 64, algorithms)
    for algorithm in algorithms:
        good = token("s" * 64, algorithm)
        bad = token("t" * 64, algorithm)
        options: Any = {"algorithms": key.algorithms, "options": {"verify_aud": False}}
        assert jwt.decode(good, key.material, **options)["sub"] == "alice"
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(bad, key.material, **options)


@pytest.mark.parametrize(
    ("secret", "algorithm", "words"),
    [
        ("s" * 64, "RS256", "needs a public key, and not a secret"),
        (public_pem("RSA"), "HS256", "This is a key in PEM"),
        ("ssh-rsa AAAA" + "s" * 64, "HS256", "This is a key or a certificate"),
    ],
    ids=["another-kind", "PEM", "SSH"],
)
def test_what_is_no_secret_is_not_taken_for_one(secret: str, algorithm: str, words: str) -> None:
    assert words in refusal(secret_key, secret, [algorithm])


@pytest.mark.parametrize("kind", PUBLIC)
def test_a_public_key_is_for_algorithms_of_its_kind_alone(kind: str) -> None:
    pem = public_pem(kind)
    assert public_key(pem, [PUBLIC[kind]]).algorithms == (PUBLIC[kind],)
    for other, algorithm in PUBLIC.items():
        if other != kind:
            assert f"this is one of {kind}" in refusal(public_key, pem, [PUBLIC[kind], algorithm])
    assert "could sign" in refusal(public_key, pem, ["HS256"])


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (private_pem("RSA"), "This is a private key"),
        ("nonsense", "There is no public key in PEM"),
        (public_pem("short RSA"), "it has 1024 bits, and needs 2048"),
        (public_pem("secp256k1"), "No algorithm is for a key of this kind"),
    ],
    ids=["private", "nonsense", "short", "curve"],
)
def test_what_is_no_usable_public_key_is_refused_with_the_reason(pem: str, words: str) -> None:
    assert words in refusal(public_key, pem, ["RS256"])


def test_a_key_is_printed_without_its_material() -> None:
    assert "sss" not in repr(secret_key("s" * 64, ["HS256"]))
    assert "material" not in repr(secret_key("s" * 64, ["HS256", "HS384"]))


@pytest.mark.parametrize("kind", PUBLIC)
def test_a_key_of_a_set_is_for_what_is_allowed_and_it_says_it_is_for(kind: str) -> None:
    algorithm = PUBLIC[kind]
    allowed = [*PUBLIC.values(), "PS256"]
    key = jwk_key(jwk(algorithm, kind), allowed)
    assert key is not None
    both = ("RS256", "PS256") if kind == "RSA" else (algorithm,)
    assert key.algorithms == both
    named = jwk_key(jwk(algorithm, kind, alg=algorithm), allowed)
    assert named is not None
    assert named.algorithms == (algorithm,)


@pytest.mark.parametrize(
    "changed",
    [
        {"kty": "oct"},
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "RS384"},
        {"n": "AQAB"},
        {"n": 5},
        {"e": None},
        {"kty": "nonsense"},
    ],
    ids=str,
)
def test_a_key_of_a_set_that_is_not_for_this_is_left_out(changed: dict[str, Any]) -> None:
    assert jwk_key(jwk("RS256", "RSA") | changed, ["RS256"]) is None


def test_what_a_key_of_a_set_may_say_besides() -> None:
    for more in ({"use": "sig"}, {"key_ops": ["verify"]}, {"kid": "one"}, {"x5t": "y"}):
        assert jwk_key(jwk("RS256", "RSA") | more, ["RS256"]) is not None, more
    assert jwk_key(jwk("RS256", "short RSA"), ["RS256"]) is None
    assert jwk_key(jwk("ES256", "P-256"), ["RS256"]) is None
