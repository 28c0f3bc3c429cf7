"""``jackfield-a2a``: run the gateway until it is told to stop."""

import logging
import os
import socket
import ssl
import sys
from typing import Final
from urllib.parse import urlsplit

import click
import uvicorn

from .app import create_app

#: Seconds that requests have to end once the gateway is told to stop.
_GRACE: Final = 5
#: Connections that wait for the gateway to take them.
_BACKLOG: Final = 1024


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n"
    "  jackfield-a2a --url wss://jackfield.example/ws --token-env TOKEN\n"
    "  jackfield-a2a --anonymous\n\n"
    "\b\nExit codes:\n"
    "  0    stopped as told\n"
    "  1    did not start\n"
    "  2    wrong usage",
)
@click.version_option(package_name="jackfield-a2a", message="jackfield-a2a %(version)s")
@click.option(
    "--url",
    metavar="URL",
    default="ws://127.0.0.1:8080/ws",
    show_default=True,
    envvar="JACKFIELD_URL",
    show_envvar=True,
    help="The address of the Jackfield server's WebSocket.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8090,
    show_default=True,
    help="The port to listen on; 0 takes any that is free.",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="Where callers reach the gateway, if not at that address: it stands in the cards.",
)
@click.option(
    "--token-env",
    metavar="NAME",
    help="The environment variable with the gateway's own token, to see which agents there are. "
    "Nobody is called by it.",
)
@click.option(
    "--anonymous",
    is_flag=True,
    help="Let in callers without a token, as anonymous users of Jackfield.",
)
@click.option(
    "--connections",
    metavar="COUNT",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Connections to Jackfield, at most: one for each request that is under way.",
)
@click.option(
    "--ca",
    metavar="FILE",
    help="The certificates of the authorities that may sign Jackfield's, in PEM; if left out, "
    "those that the system trusts, or in the file that SSL_CERT_FILE names.",
)
def main(
    *,
    url: str,
    host: str,
    port: int,
    public_url: str | None,
    token_env: str | None,
    anonymous: bool,
    connections: int,
    ca: str | None,
) -> None:
    """Serve the agents of a Jackfield server by the A2A protocol.

    Each agent is at /agents/NAME, with its card at /agents/NAME/.well-known/agent-card.json; the
    list of them is at /. A caller's bearer token is handed on to Jackfield, so its tasks are its
    own there. The log goes to standard error.
    """
    _check_address(url, ("ws", "wss"), "--url")
    if public_url is not None:
        _check_address(public_url, ("http", "https"), "--public-url")
    token = None
    if token_env is not None:
        token = os.environ.get(token_env)
        if not token:
            raise click.BadParameter(
                f"The variable {token_env} is not set.", param_hint="--token-env"
            )
    tls = None if ca is None else _trust(ca)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
    with _listen(host, port) as listener:
        taken = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        address = public_url or f"http://{shown}:{taken}"
        app = create_app(
            url, address=address, token=token, anonymous=anonymous, connections=connections, tls=tls
        )
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            ws="none",
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_GRACE,
            server_header=False,
        )
        click.echo(f"The agents of {url} are at {address}/")
        sys.stdout.flush()
        uvicorn.Server(config).run(sockets=[listener])


def _check_address(url: str, schemes: tuple[str, ...], option: str) -> None:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise click.BadParameter(
            f"{url!r} is not an address like {schemes[0]}://host:port.", param_hint=option
        )


def _trust(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        why = "it has no certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise click.BadParameter(f"{ca} can't be used: {why}.", param_hint="--ca") from error


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except socket.gaierror as error:
        raise click.ClickException(f"The host {host!r} cannot be found.") from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise click.ClickException(f"It can't listen on {host} port {port}: {why}.") from error
