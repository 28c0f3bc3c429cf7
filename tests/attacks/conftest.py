"""What the attacks need of the functional tests, and files enough to attack with."""

import resource
from collections.abc import Iterator

import pytest

from tests.functional.conftest import config, logged, valkey_url

__all__ = ["config", "logged", "valkey_url"]


@pytest.fixture(autouse=True)
def _open_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
