"""Keys and tokens for tests: good ones, and by what they are told, any kind of bad."""

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import get_default_algorithms

AUDIENCE = "tests"
ISSUER = "https://issuer.example"
SECRET = "correct horse battery staple, and some more of it, to be long enough for HS512"

_KEYS: dict[str, Any] = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "short RSA": lambda: rsa.generate_private_key(65537, 1024),
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


def private_key(kind: str, number: int = 0) -> Any:
    """A private key; the same each time for the same number."""
    return _private_key(kind, number)


@cache
def _private_key(kind: str, _number: int) -> Any:
    return _KEYS[kind]()


def private_pem(kind: str) -> str:
    return str(
        private_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "ascii"
    )


def public_pem(kind: str) -> str:
    key = private_key(kind).public_key()
    return str(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "ascii")


def jwk(algorithm: str, kind: str, number: int = 0, **more: Any) -> dict[str, Any]:
    """A public key as a set has it."""
    key = private_key(kind, number).public_key()
    return {**get_default_algorithms()[algorithm].to_jwk(key, as_dict=True), **more}


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a token that is good for an hour; None leaves one out."""
    now = int(time.time())
    default = {"aud": AUDIENCE, "iss": ISSUER, "sub": "alice", "iat": now, "exp": now + 3600}
    return {name: value for name, value in (default | changed).items() if value is not None}


def token(
    key: Any = SECRET,
    algorithm: str = "HS256",
    headers: Mapping[str, Any] | None = None,
    **changed: Any,
) -> str:
    """A token, good but for what is changed of its claims."""
    return jwt.encode(claims(**changed), key, algorithm, headers=dict(headers or {}))


def forged(header: Mapping[str, Any], body: Any = None, signature: bytes = b"") -> str:
    """A token of any parts, signed or not."""
    parts = (json.dumps(header).encode(), json.dumps(body or claims()).encode(), signature)
    return ".".join(str(base64.urlsafe_b64encode(part).rstrip(b"="), "ascii") for part in parts)


def jwt_section(path: Path, **changed: Any) -> dict[str, Any]:
    """``[auth.jwt]`` with the secret above, in a file."""
    secret = path / "secret"
    secret.write_text(SECRET)
    section: dict[str, Any] = {
        "algorithms": ["HS256"],
        "secret_file": str(secret),
        "audience": AUDIENCE,
        "issuer": ISSUER,
    } | changed
    return {name: value for name, value in section.items() if value is not None}


class Issuer:
    """Somebody who publishes a key set, and counts who asks for it."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.fetched = 0
        self.url = ""
        #: What is answered instead, if anything.
        self.answer: web.Response | None = None

    async def serve(self, _request: web.Request) -> web.Response:
        self.fetched += 1
        if self.answer is not None:
            body = self.answer.body
            return web.Response(body=body, status=self.answer.status, headers=self.answer.headers)
        return web.json_response({"keys": self.keys})


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    """An issuer, on a free port of this machine."""
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/jwks.json", issuer.serve)
    async with TestServer(app) as server:
        issuer.url = str(server.make_url("/jwks.json"))
        yield issuer
