"""JSON Web Tokens: what is taken, and what is refused, however it is made to look."""

import base64
import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.auth import Credentials
from jackfield.auth.jwt import JwtAuthenticator
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from tests.support.tokens import (
    SECRET,
    claims,
    forged,
    jwt_section,
    private_key,
    private_pem,
    public_pem,
    token,
)

REQUEST: Any = SimpleNamespace()


def authenticator(path: Path, **changed: Any) -> JwtAuthenticator:
    loaded = JwtAuthenticator.config_schema.load(jwt_section(path, **changed))
    assert isinstance(loaded, dict)
    return JwtAuthenticator(loaded)


def with_public_key(path: Path, kind: str, algorithms: list[str]) -> JwtAuthenticator:
    file = path / "public.pem"
    file.write_text(public_pem(kind))
    return authenticator(path, algorithms=algorithms, secret_file=None, public_key_file=str(file))


@pytest.fixture(scope="module")
def hs256(tmp_path_factory: pytest.TempPathFactory) -> JwtAuthenticator:
    return authenticator(tmp_path_factory.mktemp("hs256"))


async def identify(by: JwtAuthenticator, text: str, source: Any = "bearer") -> Identity | None:
    return await by.authenticate(Credentials(source, text, REQUEST))


async def outcome_of(by: JwtAuthenticator, text: str) -> Identity | Error | None:
    try:
        return await identify(by, text)
    except Error as error:
        return error


async def refused(by: JwtAuthenticator, text: str) -> Error:
    outcome = await outcome_of(by, text)
    assert isinstance(outcome, Error)
    return outcome


async def test_a_token_says_who_it_is_what_they_may_and_until_when(hs256: JwtAuthenticator) -> None:
    good = claims(scope="chat  admin", jti="t1")

    assert await identify(hs256, token(**good)) == Identity(
        user="alice",
        scopes=frozenset({"chat", "admin"}),
        expires_at=good["exp"],
        token_id="t1",
        issued_at=good["iat"],
    )


async def test_a_token_that_says_little_is_enough(hs256: JwtAuthenticator) -> None:
    exp = time.time() + 10.5
    assert await identify(hs256, token(iat=None, exp=exp)) == Identity("alice", expires_at=exp)


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        ("RSA", "RS256"),
        ("RSA", "RS384"),
        ("RSA", "RS512"),
        ("RSA", "PS256"),
        ("RSA", "PS384"),
        ("RSA", "PS512"),
        ("P-256", "ES256"),
        ("P-384", "ES384"),
        ("P-521", "ES512"),
        ("Ed25519", "EdDSA"),
    ],
)
async def test_each_kind_of_public_key_verifies_its_algorithm(
    kind: str, algorithm: str, tmp_path: Path
) -> None:
    by = with_public_key(tmp_path, kind, [algorithm])
    good = token(private_key(kind), algorithm)

    assert (await identify(by, good)) is not None
    other = token(private_key(kind, 1), algorithm)
    assert (await refused(by, other)).message.endswith("Its signature is wrong.")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_each_length_of_hash_is_verified_with_the_secret(
    algorithm: str, tmp_path: Path
) -> None:
    by = authenticator(tmp_path, algorithms=[algorithm])

    assert (await identify(by, token(algorithm=algorithm))) is not None
    assert (await refused(by, token("x" * 64, algorithm))).code == "unauthenticated"


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"exp": time.time() - 60}, "token_expired", "The token has expired."),
        ({"exp": None}, "unauthenticated", "It lacks the claim 'exp'."),
        ({"aud": None}, "unauthenticated", "It lacks the claim 'aud'."),
        ({"iss": None}, "unauthenticated", "It lacks the claim 'iss'."),
        ({"sub": None}, "unauthenticated", "It lacks the claim 'sub'."),
        ({"aud": "others"}, "unauthenticated", "It is for another audience."),
        ({"aud": ["others", "tests "]}, "unauthenticated", "It is for another audience."),
        ({"aud": {"tests": 1}}, "unauthenticated", "It is for another audience."),
        ({"iss": "https://issuer.example/"}, "unauthenticated", "It is of another issuer."),
        ({"nbf": time.time() + 3600}, "unauthenticated", "It is not valid yet."),
        ({"iat": time.time() + 3600}, "unauthenticated", "It is not valid yet."),
        (
            {"exp": str(int(time.time() + 3600))},
            "unauthenticated",
            "Its claim 'exp' is not a time.",
        ),
        ({"exp": 10**400}, "unauthenticated", "Its claim 'exp' is not a time."),
        ({"exp": 1e300}, "unauthenticated", "Its claim 'exp' is not a time."),
        ({"exp": float("inf")}, "unauthenticated", "It can't be read."),
        ({"exp": float("nan")}, "unauthenticated", "It can't be read."),
        ({"exp": [1]}, "unauthenticated", "It can't be read."),
        ({"iat": True}, "unauthenticated", "Its claim 'iat' is not a time."),
        ({"sub": ""}, "unauthenticated", "normal form C."),
        ({"sub": "a\nb"}, "unauthenticated", "normal form C."),
        ({"sub": "\ud800"}, "unauthenticated", "normal form C."),
        ({"sub": "x" * 201}, "unauthenticated", "normal form C."),
        ({"sub": 7}, "unauthenticated", "Its subject is not a text."),
        ({"sub": "e\u0301"}, "unauthenticated", "in Unicode's normal form C."),
        ({"jti": 7}, "unauthenticated", "Its id is not a text."),
        ({"jti": "x" * 257}, "unauthenticated", "it could not be revoked."),
        ({"jti": ""}, "unauthenticated", "it could not be revoked."),
        ({"jti": "a\0"}, "unauthenticated", "it could not be revoked."),
        ({"scope": 7}, "unauthenticated", "Its claim 'scope' is neither"),
        ({"scopes": ["a", 7]}, "unauthenticated", "Its claim 'scopes' is neither"),
    ],
)
async def test_a_claim_that_is_wrong_is_refused_in_words(
    hs256: JwtAuthenticator, changed: dict[str, Any], code: str, words: str
) -> None:
    error = await refused(hs256, token(**changed))

    assert error.code == code
    assert words in error.message


async def test_clocks_may_differ_by_the_leeway(tmp_path: Path) -> None:
    by = authenticator(tmp_path, leeway="30s")
    now = time.time()

    assert await identify(by, token(exp=now - 20)) is not None
    assert await identify(by, token(nbf=now + 20, iat=now + 20)) is not None
    assert (await refused(by, token(exp=now - 40))).code == "token_expired"
    assert (await refused(by, token(nbf=now + 40))).code == "unauthenticated"


@pytest.mark.parametrize("name", ["scope", "scopes", "scp"])
@pytest.mark.parametrize("value", ["a b", ["a", "b"]])
async def test_scopes_are_read_as_any_provider_writes_them(
    hs256: JwtAuthenticator, name: str, value: Any
) -> None:
    identity = await identify(hs256, token(**{name: value}))

    assert identity is not None
    assert identity.scopes == {"a", "b"}


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", [b"", b"x"])
async def test_an_unsigned_token_is_refused(
    hs256: JwtAuthenticator, algorithm: str, signature: bytes
) -> None:
    error = await refused(hs256, forged({"alg": algorithm, "typ": "JWT"}, signature=signature))

    assert error.message.endswith("Its algorithm is not one of those allowed.")


@pytest.mark.parametrize("kind", ["RSA", "P-256", "Ed25519"])
async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(
    kind: str, tmp_path: Path
) -> None:
    """The confusion of a public key with a secret (CVE-2015-9235)."""
    algorithm = {"RSA": "RS256", "P-256": "ES256", "Ed25519": "EdDSA"}[kind]
    by = with_public_key(tmp_path, kind, [algorithm])
    pem = public_pem(kind).encode()
    for secret in (pem, pem.rstrip(), pem + b"\n"):
        hmac = jwt.get_algorithm_by_name("HS256")
        head = forged({"alg": "HS256", "typ": "JWT"}).rpartition(".")[0]
        signature = base64.urlsafe_b64encode(hmac.sign(head.encode(), secret)).rstrip(b"=")

        error = await refused(by, f"{head}.{signature.decode()}")

        assert error.message.endswith("Its algorithm is not one of those allowed.")


async def test_a_token_of_another_configured_kind_is_not_taken_for_this_one(tmp_path: Path) -> None:
    by = with_public_key(tmp_path, "RSA", ["RS256", "PS256"])

    assert await identify(by, token(private_key("RSA"), "PS256")) is not None
    swapped = token(private_key("RSA"), "PS256").split(".")
    swapped[0] = forged({"alg": "RS256"}).split(".")[0]
    assert (await refused(by, ".".join(swapped))).message.endswith("Its signature is wrong.")


@pytest.mark.parametrize(
    "headers",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": True},
        {"crit": []},
        {"crit": None},
        {"crit": "b64"},
        {"crit": {"b64": 1}},
    ],
)
async def test_a_critical_extension_is_refused(
    hs256: JwtAuthenticator, headers: Mapping[str, Any]
) -> None:
    head = forged({"alg": "HS256", **headers}).rpartition(".")[0]
    signature = jwt.get_algorithm_by_name("HS256").sign(head.encode(), SECRET.encode())
    encoded = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()

    error = await refused(hs256, f"{head}.{encoded}")

    assert error.message.endswith("It has a critical extension, and none is supported.")


@pytest.mark.parametrize("header", ["jwk", "jku", "x5u", "x5c"])
async def test_a_key_that_a_token_brings_along_is_not_used(
    header: str, tmp_path: Path, hs256: JwtAuthenticator
) -> None:
    by = with_public_key(tmp_path, "RSA", ["RS256"])
    mine = token(private_key("RSA", 1), "RS256", {header: "https://evil.example/jwks.json"})

    assert (await refused(by, mine)).message.endswith("Its signature is wrong.")


@pytest.mark.parametrize(
    "text",
    [
        "..",
        "a.b.c",
        "\udcff.a.b",
        "é.é.é",
        f"{base64.urlsafe_b64encode(b'[]').decode()}.a.b",
        f"{base64.urlsafe_b64encode(b'{' * 5000).decode()}.a.b",
        f"{base64.urlsafe_b64encode(json.dumps({'alg': 'HS256', 'kid': 1}).encode()).decode()}.a.b",
        f"{base64.urlsafe_b64encode(b'[' * 5000).decode()}.a.b",
        "x" * 9000 + ".a.b",
    ],
)
async def test_what_only_looks_like_a_token_is_refused(hs256: JwtAuthenticator, text: str) -> None:
    assert (await refused(hs256, text)).message.endswith("It can't be read.")


async def test_a_token_past_the_limit_is_refused_before_anything_of_it_is_read(
    hs256: JwtAuthenticator,
) -> None:
    assert await identify(hs256, token(padding="x" * 5000)) is not None
    assert (await refused(hs256, token(padding="x" * 8192))).message.endswith("It can't be read.")


@pytest.mark.parametrize("text", ["", "opaque", "a.b", "a.b.c.d", "jft_abc"])
async def test_what_is_no_token_at_all_is_left_to_others(
    hs256: JwtAuthenticator, text: str
) -> None:
    assert await identify(hs256, text) is None


@pytest.mark.parametrize("source", ["none", "ticket"])
async def test_a_token_is_not_taken_from_a_url(hs256: JwtAuthenticator, source: Any) -> None:
    assert await identify(hs256, token(), source) is None


@given(
    st.one_of(
        st.text(max_size=200).map(lambda text: f"{text}.{text}.{text}"),
        st.dictionaries(
            st.sampled_from(["alg", "kid", "crit", "typ", "b64", "x"]),
            st.one_of(
                st.sampled_from(["HS256", "none"]), st.integers(), st.none(), st.lists(st.text())
            ),
        ).map(lambda header: forged(header, signature=secrets.token_bytes(32))),
    )
)
async def test_nothing_but_a_refusal_comes_of_what_anybody_sends(
    hs256: JwtAuthenticator, text: str
) -> None:
    outcome = await outcome_of(hs256, text)

    assert outcome is None or (isinstance(outcome, Error) and outcome.code == "unauthenticated")


@given(
    st.dictionaries(
        st.sampled_from(["exp", "nbf", "iat", "aud", "iss", "sub", "jti", "scope", "scp"]),
        st.recursive(
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(),
                st.text(st.characters(codec=None), max_size=20),
            ),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
)
async def test_nothing_but_a_refusal_comes_of_claims_that_an_issuer_gets_wrong(
    hs256: JwtAuthenticator, changed: dict[str, Any]
) -> None:
    head = forged({"alg": "HS256"}, claims() | changed).rpartition(".")[0]
    signature = jwt.get_algorithm_by_name("HS256").sign(head.encode(), SECRET.encode())
    signed = f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    outcome = await outcome_of(hs256, signed)

    if isinstance(outcome, Error):
        assert outcome.code in ("unauthenticated", "token_expired")
    else:
        assert outcome is not None
        assert isinstance(outcome.user, str)
        assert isinstance(outcome.expires_at, float)


def test_what_is_printed_of_credentials_has_no_token() -> None:
    assert "hunter2" not in repr(Credentials("bearer", "hunter2", REQUEST))


# What is refused before the server starts.


@pytest.mark.parametrize(
    ("changed", "where", "words"),
    [
        ({"algorithms": ["RS256", "HS256"]}, "algorithms", "Both together would let everyone"),
        ({"algorithms": ["RS256"]}, "secret_file", "RS256 needs a public key, and not a secret"),
        ({"algorithms": []}, "algorithms", "Must name one at least"),
        ({"algorithms": ["none"]}, "algorithms", "Must be one of"),
        ({"algorithms": None}, "algorithms", "Missing data"),
        ({"audience": None}, "audience", "Missing data"),
        ({"issuer": None}, "issuer", "Missing data"),
        ({"audience": ""}, "audience", "Shorter than minimum length 1"),
        ({"secret_file": None}, "algorithms", "Exactly one of secret_file, secret_env"),
        ({"secret_env": "TEST_SECRET"}, "secret_env", "Exactly one of secret_file, secret_env"),
        ({"secret_file": None, "secret_env": "TEST_NONE"}, "secret_env", "no such environment"),
        ({"leeway": "6m"}, "leeway", "Must be at most 5 minutes"),
        ({"secret_file": None, "jwks_url": "http://x/"}, "jwks_url", "Must be an https:// address"),
        ({"secret_file": None, "jwks_url": "file:///x"}, "jwks_url", "Must be an https:// address"),
        ({"secret_file": None, "jwks_url": "https://"}, "jwks_url", "Must be an https:// address"),
        ({"secret_file": None, "jwks_url": "https://["}, "jwks_url", "Must be an https:// address"),
        (
            {"secret_file": None, "jwks_url": "https://x/"},
            "jwks_url",
            "HS256 needs a secret, and a key set has public keys",
        ),
    ],
)
def test_a_wrong_configuration_is_refused_in_words(
    changed: dict[str, Any],
    where: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEST_SECRET", SECRET)
    errors = JwtAuthenticator.config_schema.validate(jwt_section(tmp_path, **changed))

    assert words in str(errors[where])
    assert SECRET not in str(errors)


@pytest.mark.parametrize(
    ("content", "algorithms", "words"),
    [
        ("x" * 31, ["HS256"], "HS256 needs 32 bytes at least, and it has 31"),
        ("x" * 47, ["HS256", "HS384"], "HS256, HS384 need 48 bytes at least"),
        ("x" * 63, ["HS512"], "HS512 needs 64 bytes at least"),
        (public_pem("RSA"), ["HS256"], "This is a key in PEM, and not a secret"),
        (f'{{"kty": "oct", "k": "{SECRET}"}}', ["HS256"], "in a format of its own"),
        (f"ssh-ed25519 {'A' * 68}", ["HS256", "HS384"], "in a format of its own"),
    ],
)
def test_a_secret_that_is_none_is_refused(
    content: str, algorithms: list[str], words: str, tmp_path: Path
) -> None:
    section = jwt_section(tmp_path, algorithms=algorithms)
    Path(section["secret_file"]).write_text(content)

    errors = JwtAuthenticator.config_schema.validate(section)

    assert words in str(errors["secret_file"])
    assert content not in str(errors)


@pytest.mark.parametrize(
    ("content", "algorithms", "words"),
    [
        (public_pem("RSA"), ["HS256"], "HS256 needs a secret, and this is a public key"),
        (public_pem("RSA"), ["ES256"], "ES256 needs another kind of key: this is one of RSA"),
        (public_pem("P-256"), ["ES384"], "ES384 needs another kind of key: this is one of P-256"),
        (public_pem("secp256k1"), ["ES256"], "No algorithm is for a key of this kind"),
        (public_pem("short RSA"), ["RS256"], "it has 1024 bits, and needs 2048"),
        (private_pem("RSA"), ["RS256"], "This is a private key"),
        ("hunter2", ["RS256"], "There is no public key in PEM in it"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", ["RS256"], "no public key"),
    ],
)
def test_a_public_key_that_does_not_fit_is_refused(
    content: str, algorithms: list[str], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    section = jwt_section(
        tmp_path, algorithms=algorithms, secret_file=None, public_key_file=str(file)
    )

    errors = JwtAuthenticator.config_schema.validate(section)

    assert words in str(errors["public_key_file"])
    assert content not in str(errors)
