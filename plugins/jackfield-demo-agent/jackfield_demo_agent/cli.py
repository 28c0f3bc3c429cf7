"""``jackfield-demo-agent``: run the agent until it is told to stop."""

import logging
import os

import click

from jackfield.client import ConnectionClosed, ConnectionFailed, RequestError

from .agent import PACE, create_agent


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n"
    "  jackfield-demo-agent\n"
    "  jackfield-demo-agent --url wss://jackfield.example/ws --token-env TOKEN\n\n"
    "\b\nExit codes:\n"
    "  0    stopped as told\n"
    "  1    was not let in\n"
    "  2    wrong usage",
)
@click.version_option(
    package_name="jackfield-demo-agent", message="jackfield-demo-agent %(version)s"
)
@click.option(
    "--url",
    metavar="URL",
    default="ws://127.0.0.1:8080/ws",
    show_default=True,
    envvar="JACKFIELD_URL",
    show_envvar=True,
    help="The address of the server's WebSocket.",
)
@click.option(
    "--token-env",
    metavar="NAME",
    help="The environment variable with a token, whose identity has the scope agent.",
)
@click.option(
    "--pace",
    metavar="SECONDS",
    type=click.FloatRange(0, 10),
    default=PACE,
    show_default=True,
    help="How long from one word to the next.",
)
def main(*, url: str, token_env: str | None, pace: float) -> None:
    """Be the agent "demo", with the skills summarise, chat and confirm.

    It connects again by itself when the connection is lost. SIGTERM and Ctrl-C let its tasks end.
    The log goes to standard error.
    """
    token = None
    if token_env is not None:
        token = os.environ.get(token_env)
        if not token:
            raise click.BadParameter(
                f"The variable {token_env} is not set.", param_hint="--token-env"
            )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level="INFO")
    try:
        create_agent(url, token, pace=pace).run()
    except (ConnectionFailed, ConnectionClosed, RequestError) as error:
        raise click.ClickException(str(error)) from error
