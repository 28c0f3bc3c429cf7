"""`Key`: what tokens are verified with, and the algorithms it is for.

An algorithm is only used with a key of its own kind. A public key is known to everybody: if it were
taken for a secret, everybody could sign (RFC 8725, section 2.1).
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK, PyJWTError
from jwt.algorithms import HMACAlgorithm

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

#: Bits of the shortest RSA key that is accepted (RFC 7518, section 3.3).
_RSA_BITS: Final = 2048


class KeyKind(StrEnum):
    """What a key is."""

    SECRET = "a secret"  # noqa: S105 - a word
    RSA = "RSA"
    P256 = "P-256"
    P384 = "P-384"
    P521 = "P-521"
    ED25519 = "Ed25519"


#: The kind of key that each algorithm needs (RFC 7518, section 3; RFC 8037).
ALGORITHMS: Final = {
    "HS256": KeyKind.SECRET,
    "HS384": KeyKind.SECRET,
    "HS512": KeyKind.SECRET,
    "RS256": KeyKind.RSA,
    "RS384": KeyKind.RSA,
    "RS512": KeyKind.RSA,
    "PS256": KeyKind.RSA,
    "PS384": KeyKind.RSA,
    "PS512": KeyKind.RSA,
    "ES256": KeyKind.P256,
    "ES384": KeyKind.P384,
    "ES512": KeyKind.P521,
    "EdDSA": KeyKind.ED25519,
}
#: Bytes of a secret, at least: as many as the hash has (RFC 7518, section 3.2).
SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}

_CURVES: Final = {"secp256r1": KeyKind.P256, "secp384r1": KeyKind.P384, "secp521r1": KeyKind.P521}


@dataclass(frozen=True, slots=True)
class Key:
    """A key to verify with.

    Attributes:
        material: The secret, or the public key. Never shown.
        algorithms: The only ones that it is used with.
    """

    material: bytes | PublicKey | PyJWK = field(repr=False)
    algorithms: tuple[str, ...]


class _CheckedHMAC(HMACAlgorithm):
    """HMAC with a secret that was checked before.

    PyJWT checks for each token whether the secret isn't a key or a certificate, which takes a third
    of the time that verifying the token does.
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        """Return the secret as it is."""
        return key if isinstance(key, bytes) else key.encode()


def kinds(algorithms: Sequence[str]) -> list[KeyKind]:
    """Return the kinds of key that some algorithms need, each once."""
    return list(dict.fromkeys(ALGORITHMS[name] for name in algorithms))


def secret_key(secret: str, algorithms: Sequence[str]) -> Key:
    """Make a key of a secret.

    Raises:
        ValueError: It is no usable secret: the message says why, and doesn't quote it.
    """
    for name in algorithms:
        if ALGORITHMS[name] is not KeyKind.SECRET:
            raise ValueError(f"{name} needs a public key, and not a secret: set public_key_file")
    material = secret.encode()
    if b"-----BEGIN " in material:
        raise ValueError(
            "This is a key in PEM, and not a secret: a public key that is used as a secret lets "
            "everyone who has it sign tokens"
        )
    needed = max(SECRET_BYTES[name] for name in algorithms)
    if len(material) < needed:
        raise ValueError(
            f"The secret is too short: {', '.join(algorithms)} need{'s' * (len(algorithms) == 1)} "
            f"{needed} bytes at least, and it has {len(material)}"
        )
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(material)
    except (PyJWTError, ValueError, TypeError):
        raise ValueError(
            "This is a key or a certificate in a format of its own, and not a secret"
        ) from None
    if len(algorithms) > 1:
        return Key(material, tuple(algorithms))
    encoded = str(urlsafe_b64encode(material).rstrip(b"="), "ascii")
    prepared = PyJWK({"kty": "oct", "k": encoded, "alg": algorithms[0]})
    assert isinstance(prepared.Algorithm, HMACAlgorithm)  # noqa: S101 - as all are of secrets
    prepared.Algorithm = _CheckedHMAC(prepared.Algorithm.hash_alg)
    return Key(prepared, tuple(algorithms))


def public_key(pem: str, algorithms: Sequence[str]) -> Key:
    """Make a key of a public key in PEM.

    Raises:
        ValueError: It is no usable key: the message says why, and doesn't quote it.
    """
    if "PRIVATE KEY-----" in pem:
        raise ValueError("This is a private key: the server needs the public one, and no other")
    try:
        material = load_pem_public_key(pem.encode())
    except Exception:  # noqa: BLE001 - whatever is raised for it, it is none that is of use
        raise ValueError("There is no public key in PEM in it") from None
    kind = _kind(material)
    if kind is None or not isinstance(material, PublicKey):
        raise ValueError("No algorithm is for a key of this kind")
    for name in algorithms:
        if ALGORITHMS[name] is KeyKind.SECRET:
            raise ValueError(
                f"{name} needs a secret, and this is a public key: whoever has that could sign "
                "tokens"
            )
        if ALGORITHMS[name] is not kind:
            raise ValueError(f"{name} needs another kind of key: this is one of {kind}")
    return Key(material, tuple(algorithms))


def jwk_key(jwk: Mapping[str, Any], algorithms: Sequence[str]) -> Key | None:
    """Make a key of a public key of a JSON Web Key Set (RFC 7517).

    Args:
        jwk: The key as its set has it.
        algorithms: Those that may be used at all.

    Returns:
        The key; None if tokens can't be verified with it by any of these algorithms.
    """
    if jwk.get("kty") == "oct" or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    try:
        material = PyJWK(dict(jwk)).key
        kind = _kind(material)
    except Exception:  # noqa: BLE001 - a stranger's key; what is raised for it is the libraries' choice
        return None
    usable = tuple(
        name for name in algorithms if ALGORITHMS[name] is kind and jwk.get("alg", name) == name
    )
    if not usable or not isinstance(material, PublicKey):
        return None
    return Key(material, usable)


def _kind(material: object) -> KeyKind | None:
    """Return the kind of a public key; None if no algorithm is for it.

    Raises:
        ValueError: It is too short.
    """
    match material:
        case RSAPublicKey():
            if material.key_size < _RSA_BITS:
                raise ValueError(
                    f"The RSA key is too short: it has {material.key_size} bits, and needs "
                    f"{_RSA_BITS} at least"
                )
            return KeyKind.RSA
        case EllipticCurvePublicKey():
            return _CURVES.get(material.curve.name)
        case Ed25519PublicKey():
            return KeyKind.ED25519
    return None
