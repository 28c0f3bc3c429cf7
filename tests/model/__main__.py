"""A long run of the model of topics: ``python -m tests.model``, or ``make model``."""

import click

from tests.model.machine import DyingNodes, drive
from tests.model.world import world
from tests.support.long_runs import seed_option


@click.command()
@click.option(
    "--examples",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="How many stories are played, each with topics and clients of its own.",
)
@click.option(
    "--steps", type=click.IntRange(1), default=50, show_default=True, help="Of how many steps each."
)
@seed_option("The same steps come in the same order.")
def main(*, examples: int, steps: int, seed: int) -> None:
    """Drive topics on two nodes at random, and hold all that members get against a model.

    Members join, leave and come back from where they were; events are published with and without
    keys; pub/sub links are cut or die unnoticed, replies are lost, nodes stand still or are killed.
    Each member must get what was published, once and in order, or be told of a gap; everybody must
    come to know who is there. A story that fails is made as short as it can be, and told.
    """
    click.echo(f"{examples} stories of {steps} steps, --seed {seed}")
    with world() as running:
        drive(DyingNodes, running, examples=examples, steps=steps, shrink=True, number=seed)
    click.echo("PASSED: every member got what was published, or was told what it lacks.")


if __name__ == "__main__":
    main()
