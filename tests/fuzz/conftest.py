"""What the fuzzing needs of the functional tests."""

from tests.functional.conftest import config, valkey_url

__all__ = ["config", "valkey_url"]
