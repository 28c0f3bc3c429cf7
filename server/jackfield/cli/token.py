"""``jackfield token``: make a token for development, and inspect any token."""

import asyncio
import os
import secrets
import sys
import time
from base64 import urlsafe_b64decode
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import jwt
import msgspec
from rich.text import Text

from jackfield.auth.jwt import JwtAuthenticator
from jackfield.auth.keys import KeyKind, kinds
from jackfield.config import ConfigError, Secret, parse_duration
from jackfield.wire.errors import Error
from jackfield.wire.malformed import UNDECODABLE

from .options import config_option, epilog, not_valid, read_settings
from .terminal import FAILED, Failure, one_line, out, print_json

#: Claims that are times, which are printed in a readable form too.
_TIMES: Final = ("iat", "nbf", "exp")

_read_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


@click.group(
    "token",
    epilog=epilog(
        [
            "jackfield token mint --config jackfield.toml --user alice --scope chat",
            "jackfield token inspect --config jackfield.toml < token.txt",
        ],
        {0: "succeeded", 1: "failed, or the token is not valid", 2: "wrong usage"},
    ),
)
def command() -> None:
    """Make and inspect JSON Web Tokens."""


@command.command("mint")
@config_option
@click.option(
    "--user", metavar="ID", required=True, help="The user whose token it is: its subject."
)
@click.option(
    "--scope",
    "scopes",
    metavar="SCOPE",
    multiple=True,
    help="A scope of the user; may be given repeatedly.",
)
@click.option(
    "--expires",
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="How long the token is valid.",
)
@click.option(
    "--key",
    "key_file",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The private key to sign with, in PEM, if the server has only the public key.",
)
@click.option("--kid", metavar="ID", help="The id of that key in the key set.")
@click.option(
    "--algorithm", metavar="NAME", help="One of the configured algorithms; by default the first."
)
def mint(
    *,
    config: Path | None,
    user: str,
    scopes: tuple[str, ...],
    expires: str,
    key_file: Path | None,
    kid: str | None,
    algorithm: str | None,
) -> None:
    """Make a token that the server accepts, for development.

    It is signed with the secret of [auth.jwt], or with a private key that you name. Nothing but the
    token is printed.
    """
    settings = _jwt_settings(config)
    if settings is None:
        raise Failure("There is no section [auth.jwt] in the configuration.")
    algorithm = algorithm or settings["algorithms"][0]
    if algorithm not in settings["algorithms"]:
        raise click.UsageError(f"{algorithm} is not among auth.jwt.algorithms.")
    try:
        lifetime = parse_duration(expires)
    except ValueError as exc:
        raise click.UsageError(f"--expires: {exc}.") from None
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": settings["issuer"],
        "aud": settings["audience"],
        "sub": user,
        "iat": now,
        "exp": now + max(1, round(lifetime)),
        "jti": secrets.token_urlsafe(12),
    }
    if scopes:
        claims["scope"] = " ".join(scopes)
    token = _sign(claims, _signing_key(settings, key_file), algorithm, kid)
    if settings["jwks_url"] is None:
        try:
            asyncio.run(_verify(settings, token))
        except Error as error:
            raise Failure("The server would not take it.", error.message) from None
    click.echo(token)


@command.command("inspect")
@config_option
@click.option("--token-env", metavar="NAME", help="The environment variable that has the token.")
@click.pass_context
def inspect(context: click.Context, config: Path | None, token_env: str | None) -> None:
    """Show what is in a token, and whether the server would accept it.

    The token is read from standard input, because other users can see the arguments of a command.
    Its signature is not shown, so what is printed can't be used to connect.
    """
    token = _given_token(token_env)
    header, claims = _unverified(token)
    print_json({"header": header, "claims": claims}, may_wrap=True)
    for name in _TIMES:
        value = claims.get(name)
        if isinstance(value, int | float):
            out.print(Text(f"{name}  {_as_time(value)}", style="dim"))
    settings = _jwt_settings(config)
    if settings is None:
        out.print(Text("Not verified: there is no section [auth.jwt] in the configuration."))
        context.exit(FAILED)
    try:
        identity = asyncio.run(_verify(settings, token))
    except Error as error:
        out.print(Text(one_line(error.message), style="bold red"), soft_wrap=True)
        context.exit(FAILED)
    words = f"The token is valid: user {identity.user}"
    if identity.scopes:
        words += f", scopes {' '.join(sorted(identity.scopes))}"
    out.print(Text(one_line(f"{words}."), style="green"), soft_wrap=True)


def _jwt_settings(config: Path | None) -> dict[str, Any] | None:
    """Return the settings in ``[auth.jwt]``, None without that section."""
    section = read_settings(config).auth.sections.get("jwt")
    if section is None:
        return None
    try:
        return dict(section.load(JwtAuthenticator.config_schema))
    except ConfigError as exc:
        raise not_valid(exc) from exc


def _signing_key(settings: dict[str, Any], key_file: Path | None) -> str:
    if KeyKind.SECRET in kinds(settings["algorithms"]):
        if key_file is not None:
            raise click.UsageError("--key is for public keys, and [auth.jwt] has a secret.")
        secret: Secret = settings["secret_file"] or settings["secret_env"]
        return secret.reveal()
    if key_file is None:
        raise click.UsageError(
            "[auth.jwt] has only the public key: name the private one that belongs to it by --key."
        )
    try:
        return key_file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise Failure(f"{key_file} cannot be read.") from None


def _sign(claims: dict[str, Any], key: str, algorithm: str, kid: str | None) -> str:
    try:
        return jwt.encode(claims, key, algorithm, headers=None if kid is None else {"kid": kid})
    except (jwt.PyJWTError, ValueError, TypeError):  # its message may quote the key
        raise Failure(f"The key is not a private key for {algorithm}.") from None


async def _verify(settings: dict[str, Any], token: str) -> Any:
    """Return the identity that a token proves; a key set is fetched if needed."""
    async with AsyncExitStack() as stack:
        authenticator = await stack.enter_async_context(JwtAuthenticator(settings))
        return authenticator.verifier.verify(token, await authenticator.find_key(token))


def _given_token(variable: str | None) -> str:
    if variable is None and sys.stdin.isatty():
        token = str(click.prompt("Token", hide_input=True))
    elif variable is None:
        token = sys.stdin.read()
    elif variable in os.environ:
        token = os.environ[variable]
    else:
        raise click.UsageError(f"The environment variable {variable!r} is not set.")
    return token.strip().removeprefix("Bearer ")


def _unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of a token, without verifying it."""
    try:
        header, claims, _ = (
            urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")
        )
        return _read_object(header), _read_object(claims)
    except UNDECODABLE:
        raise Failure("This is not a JSON Web Token.") from None


def _as_time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return "no time there is"
