"""Files enough to attack with."""

import resource
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _open_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
