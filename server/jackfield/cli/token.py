"""``jackfield token``: make a token to develop with, and look into any."""

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
from jackfield.auth.keys import Kind, kinds
from jackfield.config import ConfigError, Secret, parse_duration
from jackfield.errors import Error
from jackfield.malformed import UNDECODABLE

from .options import config_option, epilog, not_valid, read_settings
from .terminal import FAILED, Failure, one_line, out, print_json

#: Claims that are times, and are better read as such.
_TIMES: Final = ("iat", "nbf", "exp")

_read_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


@click.group(
    "token",
    epilog=epilog(
        [
            "jackfield token mint --config jackfield.toml --user alice --scope chat",
            "jackfield token inspect --config jackfield.toml < token.txt",
        ],
        {0: "fine", 1: "it failed, or the token is not valid", 2: "wrong usage"},
    ),
)
def command() -> None:
    """Make and inspect JSON Web Tokens."""


@command.command("mint")
@config_option
@click.option("--user", metavar="ID", required=True, help="Whose it is: the subject.")
@click.option("--scope", "scopes", metavar="SCOPE", multiple=True, help="May be given repeatedly.")
@click.option(
    "--expires",
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="For how long it is good.",
)
@click.option(
    "--key",
    "key_file",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The private key to sign with, in PEM, where the server has the public one.",
)
@click.option("--kid", metavar="ID", help="The id of that key in the key set.")
@click.option("--algorithm", metavar="NAME", help="Which of the configured; by default the first.")
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
    """Make a token that the server takes, to develop with.

    It is signed with the secret of [auth.jwt], or with a private key of your own. The token is
    printed, and nothing else.
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
    """Show what is in a token, and whether the server would take it.

    The token is read from standard input, as the arguments of a command can be seen by others. Its
    signature is not shown: what is printed can't be used to connect.
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
    """What ``[auth.jwt]`` says; None if there is none."""
    section = read_settings(config).auth.sections.get("jwt")
    if section is None:
        return None
    try:
        return dict(section.load(JwtAuthenticator.config_schema))
    except ConfigError as exc:
        raise not_valid(exc) from exc


def _signing_key(settings: dict[str, Any], key_file: Path | None) -> str:
    if Kind.SECRET in kinds(settings["algorithms"]):
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
    except (jwt.PyJWTError, ValueError, TypeError):  # its words may quote the key
        raise Failure(f"The key is not a private key for {algorithm}.") from None


async def _verify(settings: dict[str, Any], token: str) -> Any:
    """Whose a token is, by the configuration; the keys are fetched if they have to be."""
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
    """What a token says, true or not."""
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
