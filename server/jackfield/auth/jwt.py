"""JSON Web Tokens (RFC 7519), verified as RFC 8725 asks: by PyJWT, and by what is configured alone.

Nothing in a token chooses how it is verified. Its header only says which of the configured keys
and algorithms it claims to be signed with.
"""

import os
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

import msgspec
import structlog
from jwt import PyJWT, exceptions
from jwt.types import Options
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from jackfield.config import DurationField, Secret, SecretFileField, is_loopback
from jackfield.telemetry.log import RateLimitedLog
from jackfield.wire.errors import Error
from jackfield.wire.identity import (
    MAX_TOKEN_ID_LENGTH,
    MAX_USER_LENGTH,
    Identity,
    is_token_id,
    is_user,
)
from jackfield.wire.malformed import UNDECODABLE

from . import MAX_TOKEN_LENGTH, Credentials
from .jwks import KeySet
from .keys import ALGORITHMS, Key, KeyKind, kinds, public_key, secret_key

_skew_log: Final = RateLimitedLog(structlog.get_logger("jackfield"))
#: Seconds. Clocks that differ by more should be set, and no token should be accepted for longer.
_MAX_LEEWAY: Final = 300.0
#: Seconds since the epoch: the end of the year 9999, past which no date is one.
_LATEST: Final = 253_402_300_800
#: Seconds from now at which a token may begin to be valid and still be worth waiting for: clocks
#: that differ by more are not just adrift.
_MAX_AHEAD: Final = 60.0
#: The claims that say from when on a token is valid (RFC 7519, sections 4.1.5 and 4.1.6).
_BEGINNINGS: Final = ("nbf", "iat")
#: The claims that may say what a token allows: as a text, or a list of texts.
_SCOPE_CLAIMS: Final = ("scope", "scopes", "scp")
#: Where the key may come from.
_KEY_SOURCES: Final = ("secret_file", "secret_env", "public_key_file", "jwks_url")

#: What is wrong with a token, by what PyJWT raises, whose own words may quote the token; the first
#: that fits.
_FAULTS: Final = (
    (exceptions.InvalidSignatureError, "Its signature is wrong."),
    (exceptions.InvalidAudienceError, "It is for another audience."),
    (exceptions.InvalidIssuerError, "It is of another issuer."),
    (exceptions.InvalidAlgorithmError, "Its algorithm is not one of those allowed."),
    (exceptions.InvalidSubjectError, "Its subject is not a text."),
    (exceptions.InvalidJTIError, "Its id is not a text."),
)


class _SecretVariable(fields.Field[Secret]):
    """The name of an environment variable that holds a secret, loaded as what it holds."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Secret:
        del attr, data, kwargs
        if not isinstance(value, str):
            raise ValidationError("Not a valid string.")
        if not os.environ.get(value):
            raise ValidationError("There is no such environment variable, or it is empty.")
        return Secret(os.environ[value])


def _check_key_set_url(url: str) -> None:
    """Refuse an address from which anybody on the way could hand out keys."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" or (
            parts.scheme == "http" and is_loopback(parts.hostname or "")
        )
    except ValueError:
        usable = False
    if not usable or not parts.hostname:
        raise ValidationError(
            "Must be an https:// address (http:// only of this machine): whoever can change what "
            "comes from there can sign tokens."
        )


class JwtSchema(Schema):
    """``[auth.jwt]``."""

    algorithms = fields.List(
        fields.String(
            validate=validate.OneOf(list(ALGORITHMS), error="Must be one of: {choices}.")
        ),
        required=True,
        validate=validate.Length(min=1, error="Must name one at least."),
    )
    audience = fields.String(required=True, validate=validate.Length(min=1))
    issuer = fields.String(required=True, validate=validate.Length(min=1))
    secret_file = SecretFileField(load_default=None)
    secret_env = _SecretVariable(load_default=None)
    public_key_file = SecretFileField(load_default=None)
    jwks_url = fields.String(load_default=None, validate=_check_key_set_url)
    leeway = DurationField(
        load_default=10.0,
        validate=validate.Range(max=_MAX_LEEWAY, error="Must be at most 5 minutes."),
    )

    @validates_schema(pass_original=True, skip_on_field_errors=True)
    def one_key_that_fits(
        self, data: Mapping[str, Any], original: Mapping[str, Any], **_: Any
    ) -> None:
        """Find every fault of a key when the server starts, and not when the first token comes."""
        given = [name for name in _KEY_SOURCES if original.get(name) is not None]
        if len(given) != 1:
            raise ValidationError(
                f"Exactly one of {', '.join(_KEY_SOURCES)} must be set.",
                given[-1] if given else "algorithms",
            )
        algorithms = data["algorithms"]
        if KeyKind.SECRET in kinds(algorithms) and len(kinds(algorithms)) > 1:
            raise ValidationError(
                "Those that start with HS need a secret, the others a public key. Both together "
                "would let everyone who has the public key sign tokens.",
                "algorithms",
            )
        try:
            if data["jwks_url"] is None:
                static_key(data)
            elif KeyKind.SECRET in kinds(algorithms):
                raise ValueError(  # noqa: TRY301 - one way for all faults of the key
                    f"{algorithms[0]} needs a secret, and a key set has public keys: set "
                    "secret_file"
                )
        except ValueError as exc:
            raise ValidationError(f"{exc}.", given[0]) from None


def static_key(config: Mapping[str, Any]) -> Key:
    """Make the key of a configuration that has a secret or a public key.

    Args:
        config: What `JwtSchema` has loaded.

    Raises:
        ValueError: It doesn't fit the algorithms.
    """
    algorithms = config["algorithms"]
    if config["public_key_file"] is not None:
        return public_key(config["public_key_file"].reveal(), algorithms)
    secret: Secret = config["secret_file"] or config["secret_env"]
    return secret_key(secret.reveal(), algorithms)


class Header(NamedTuple):
    """What a token claims to be signed with."""

    algorithm: str
    key_id: str | None


class _RawHeader(msgspec.Struct):
    alg: str
    kid: str | None = None
    crit: Any = msgspec.UNSET


_read_header: Final = msgspec.json.Decoder(_RawHeader).decode


def read_header(token: str) -> Header:
    """Read the header of a token, of which nothing is verified yet.

    Raises:
        Error: ``unauthenticated``: it can't be read, or has a ``crit``: what that lists must be
            understood (RFC 7515, section 4.1.11), and no extension is.
    """
    encoded = token.partition(".")[0]
    try:
        # An overlong header is refused by its token's length.
        header = _read_header(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except UNDECODABLE:
        raise _invalid("It can't be read.") from None
    if header.crit is not msgspec.UNSET:
        raise _invalid("It has a critical extension, and none is supported.")
    return Header(header.alg, header.kid)


class Verifier:
    """Verifies the signature and the claims of tokens.

    Args:
        audience: What their ``aud`` must name.
        issuer: What their ``iss`` must be.
        leeway: Seconds by which the issuer's clock may differ.
    """

    def __init__(self, *, audience: str, issuer: str, leeway: float) -> None:
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway
        self._jwt = PyJWT(
            {"require": ["exp", "aud", "iss", "sub"], "enforce_minimum_key_length": True}
        )

    def claims(self, token: str, key: Key) -> dict[str, Any]:
        """Return the claims of a token that is valid by PyJWT.

        Raises:
            Error: ``unauthenticated`` or ``token_expired``: it isn't.
        """
        try:
            return self._decode(token, key, {})
        except exceptions.ImmatureSignatureError:
            pass
        # All but its beginning is checked again: only a token that is right is worth a wait.
        raise self._immature(self._decode(token, key, {"verify_iat": False, "verify_nbf": False}))

    def _decode(self, token: str, key: Key, options: Options) -> dict[str, Any]:
        try:
            return self._jwt.decode(
                token,
                key.material,
                algorithms=key.algorithms,
                options=options,
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
            )
        except exceptions.ImmatureSignatureError:
            raise
        except exceptions.ExpiredSignatureError:
            raise Error("token_expired") from None
        except exceptions.MissingRequiredClaimError as exc:
            raise _invalid(f"It lacks the claim {exc.claim!r}.") from None
        except exceptions.PyJWTError as exc:
            words = (words for kind, words in _FAULTS if isinstance(exc, kind))
            raise _invalid(next(words, "It can't be read.")) from None
        except Exception:  # noqa: BLE001 - PyJWT 2.13 lets out what int() says of a claim
            raise _invalid("It can't be read.") from None

    def _immature(self, claims: Mapping[str, Any]) -> Error:
        """Return why a token that is valid from a later time on is refused, and for how long.

        Its signature is right: most likely the clocks of its issuer and of this server differ.
        """
        at, claim = max((_time(claims[name], name), name) for name in _BEGINNINGS if name in claims)
        ahead = at - time.time()
        if ahead > _MAX_AHEAD:
            return _invalid("It is not valid yet.")
        _skew_log.warning(
            "clock skew: a token is valid from a later time on; set the clocks of its issuer and "
            "of this server, or raise leeway in [auth.jwt]",
            claim=claim,
            seconds_ahead=round(ahead, 1),
            leeway=self._leeway,
        )
        wait = max(ahead - self._leeway, 0.1)
        return _invalid_for_now(f"It is not valid for another {wait:.1f} s.", wait)

    def verify(self, token: str, key: Key) -> Identity:
        """Return the identity that a token proves.

        Raises:
            Error: ``unauthenticated`` or ``token_expired``: it is not valid.
        """
        claims = self.claims(token, key)
        if not is_user(claims["sub"]):
            raise _invalid(
                f"Its subject is not a text of 1 to {MAX_USER_LENGTH} printable characters, in "
                "Unicode's normal form C."
            )
        token_id = claims.get("jti")
        if token_id is not None and not is_token_id(token_id):
            raise _invalid(
                f"Its id is not a text of 1 to {MAX_TOKEN_ID_LENGTH} printable characters, in "
                "Unicode's normal form C: it could not be revoked."
            )
        issued_at = claims.get("iat")
        return Identity(
            user=claims["sub"],
            scopes=_scopes(claims),
            expires_at=_time(claims["exp"], "exp"),
            token_id=token_id,
            issued_at=None if issued_at is None else _time(issued_at, "iat"),
        )


def _time(value: object, claim: str) -> float:
    """Check a date of a token (RFC 7519, section 2: a number); PyJWT takes whatever `int` does."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LATEST:
        return float(value)
    raise _invalid(f"Its claim {claim!r} is not a time.")


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes of a token; providers write them differently (RFC 8693, section 4.2)."""
    scopes: set[str] = set()
    for name in _SCOPE_CLAIMS:
        value = claims.get(name, "")
        if isinstance(value, str):
            scopes.update(value.split())
        elif isinstance(value, list) and all(isinstance(scope, str) for scope in value):
            scopes.update(value)
        else:
            raise _invalid(f"Its claim {name!r} is neither a text nor a list of texts.")
    return frozenset(scopes)


def _invalid(why: str) -> Error:
    return Error("unauthenticated", f"The token is not valid. {why}")


def _invalid_for_now(why: str, after: float) -> Error:
    """Return a refusal that passes by itself, after so many seconds."""
    error = _invalid(why)
    error.retryable = True
    error.extra["retry_after"] = round(after + 0.05, 1)
    return error


class JwtAuthenticator:
    """Accepts JSON Web Tokens from a header, a cookie or a message.

    Args:
        config: What `JwtSchema` has loaded.
    """

    config_schema: Final = JwtSchema()

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._verifier = Verifier(
            audience=config["audience"], issuer=config["issuer"], leeway=config["leeway"]
        )
        self._algorithms = frozenset(config["algorithms"])
        self._key = None if config["jwks_url"] is not None else static_key(config)
        self._key_set = (
            None if self._key is not None else KeySet(config["jwks_url"], config["algorithms"])
        )

    async def __aenter__(self) -> Self:
        if self._key_set is not None:
            await self._key_set.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._key_set is not None:
            await self._key_set.close()

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Return the identity that a token proves; None for what is not a JSON Web Token."""
        token = credentials.token
        # A token has no place in a URL, and so none where tickets come from.
        if credentials.source in ("none", "ticket") or token.count(".") != 2:  # noqa: PLR2004 - RFC 7515, section 7.1
            return None
        return self._verifier.verify(token, await self.find_key(token))

    async def find_key(self, token: str) -> Key:
        """Find the key that a token claims to be signed with.

        Raises:
            Error: ``unauthenticated``: there is no such key, retryable if the issuer may have
                published it since it was last asked; ``unavailable``: there is none at all yet.
        """
        if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
            raise _invalid("It can't be read.")
        header = read_header(token)
        if header.algorithm not in self._algorithms:
            raise _invalid("Its algorithm is not one of those allowed.")
        if self._key is not None:
            return self._key
        assert self._key_set is not None  # noqa: S101 - there is one of the two
        key = self._key_set.find(header.key_id, header.algorithm)
        if key is None:
            key = await self._key_set.fetch(header.key_id, header.algorithm)
        if key is None and (wait := self._key_set.wait_for(header.key_id, header.algorithm)):
            raise _invalid_for_now("There is no such key yet.", wait)
        if key is None:
            raise _invalid("There is no such key.")
        return key

    @property
    def verifier(self) -> Verifier:
        """What verifies the tokens."""
        return self._verifier
