"""A short run of the model of topics: `make model` runs it for longer."""

from collections.abc import Iterator

import pytest

from tests.model.machine import DyingNodes, Topics, drive
from tests.model.world import World, world


@pytest.fixture(scope="module")
def running() -> Iterator[World]:
    with world() as running:
        yield running


@pytest.mark.timeout(120)
def test_members_get_what_was_published_or_are_told_of_a_gap(running: World) -> None:
    assert drive(Topics, running, examples=12) >= 12


@pytest.mark.timeout(120)
def test_the_same_is_true_where_nodes_die(running: World) -> None:
    assert drive(DyingNodes, running, examples=4) >= 4
