"""Load the authenticators that the configuration names, found by their entry points.

One that can't be loaded stops the server, unlike a plugin: it was asked for by name, and without it
its clients would be told not to come back.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from jackfield.config import ConfigError, Problem, Section, Settings
from jackfield.config.problems import suggest
from jackfield.declaration.candidates import Candidate, discover

from . import Anonymous, Authenticator

ENTRY_POINT_GROUP: Final = "jackfield.authenticators"


def load_authenticators(
    settings: Settings, candidates: Iterable[Candidate] | None = None
) -> list[Authenticator]:
    """Make the authenticators that the configuration names, in the order in which they are asked.

    Args:
        settings: The server's settings.
        candidates: What may be loaded; by default every one installed.

    Raises:
        ConfigError: Some can't be loaded, or their configuration is not valid; it has all problems.
    """
    installed: dict[str, list[Candidate]] = {}
    for candidate in discover(ENTRY_POINT_GROUP) if candidates is None else candidates:
        installed.setdefault(candidate.name, []).append(candidate)
    problems: list[Problem] = []
    authenticators: list[Authenticator] = []
    for name, section in _configured(settings):
        try:
            authenticators.append(_make(name, section, installed))
        except ConfigError as exc:
            problems += exc.problems
    if problems:
        raise ConfigError(problems)
    if settings.auth.anonymous:
        authenticators.append(Anonymous(settings.auth.anonymous_scopes))
    return authenticators


def _configured(settings: Settings) -> Iterator[tuple[str, Section]]:
    sections = dict(settings.auth.sections)
    if settings.api.keys:
        yield "ticket", sections.pop("ticket", Section(("auth", "ticket")))
    yield from sections.items()


def _make(name: str, section: Section, installed: Mapping[str, list[Candidate]]) -> Authenticator:
    found = installed.get(name, [])
    if not found:
        hint = suggest(name, sorted(installed))
        raise _problem(section, f"no authenticator {name!r} is installed{hint}")
    if len(found) > 1:
        sources = " and ".join(f"{each.distribution} {each.version}" for each in found)
        raise _problem(section, f"there are two authenticators {name!r}: of {sources}")
    (candidate,) = found
    what = f"the authenticator {name!r} of {candidate.distribution} {candidate.version}"
    try:
        factory: Any = candidate.load()
    except (Exception, SystemExit) as exc:
        raise _problem(section, f"{what} can't be imported: {type(exc).__name__}: {exc}") from exc
    config = section.load(getattr(factory, "config_schema", None))
    try:
        authenticator: Authenticator = factory(config)
    except Exception as exc:
        raise _problem(section, f"{what} failed: {type(exc).__name__}: {exc}") from exc
    if not callable(getattr(authenticator, "authenticate", None)):
        raise _problem(section, f"{what} has no method 'authenticate'")
    return authenticator


def _problem(section: Section, message: str) -> ConfigError:
    return ConfigError([Problem(section.place, message)])
