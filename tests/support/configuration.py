"""Configurations of tests, and what is wrong with them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jackfield.config import ConfigError, Problem, Settings, load_settings


def load(**overrides: Any) -> Settings:
    return load_settings(None, {}, overrides)


def problems_of(*args: Any, **kwargs: Any) -> list[Problem]:
    """What `load_settings` refuses a configuration for."""
    with pytest.raises(ConfigError) as caught:
        load_settings(*args, **kwargs)
    return caught.value.problems


def problem_of(**overrides: Any) -> str:
    """The one thing that is wrong with these overrides."""
    (problem,) = problems_of(None, {}, overrides)
    return problem.message


class Toml:
    """A configuration file of a test."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, text: str, environ: Mapping[str, str] | None = None) -> Settings:
        self.path.write_text(text)
        return load_settings(self.path, environ or {})

    def problems(
        self, text: str, environ: Mapping[str, str] | None = None
    ) -> list[tuple[str, str]]:
        """Each problem's place, without the path of the file, and its message."""
        self.path.write_text(text)
        return [
            (problem.where.removeprefix(f"{self.path}:"), problem.message)
            for problem in problems_of(self.path, environ or {})
        ]

    def lines(self, text: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """The place of each problem, by its key."""
        return {
            message.partition(": ")[0]: where for where, message in self.problems(text, environ)
        }
