"""Loading the configuration: every source read, all of it checked, every problem told at once."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from .environ import NESTING, split_environ, variable
from .fields import Secret, is_loopback
from .problems import ConfigError, Problem, dotted_key, suggest
from .schemas import SCHEMAS
from .section import CheckedSection, Section
from .settings import (
    AgentSettings,
    ApiSettings,
    AuthSettings,
    ConnectionSettings,
    DrainSettings,
    LimitSettings,
    LoggingSettings,
    PluginSettings,
    RedisSettings,
    ServerSettings,
    Settings,
)
from .sources import Layer, override, read_toml

#: The port a browser leaves out of an http origin.
_HTTP_PORT: Final = 80
_ENTRY_POINT: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


def load_settings(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the configuration and validate all of it, but for the plugins' own sections.

    Args:
        path: The TOML file; without one, the defaults.
        environ: The environment variables, `os.environ` unless given. Those that start with
            ``JACKFIELD__`` override the file: ``JACKFIELD__SERVER__PORT`` is ``server.port``.
        overrides: Values nested as in TOML, stronger than both.

    Raises:
        ConfigError: It is not valid: all the problems, each with its place.
    """
    environ = os.environ if environ is None else environ
    file = read_toml(path) if path else Layer()
    forced = override(overrides or {})
    variables = split_environ(environ)
    problems = [*_unknown_tables(file), *_unknown_tables(forced), *_unknown_variables(variables)]

    own_file, own_forced = _without_nested(file), _without_nested(forced)
    loaded = {
        name: _section((name,), own_file, variables, own_forced).check(schema)
        for name, schema in SCHEMAS.items()
    }
    for section in loaded.values():
        problems += section.problems
    authenticators = _nested_sections("auth", file, variables, forced)
    problems += _identity_problems(
        loaded["server"], loaded["auth"], others=bool(authenticators or _has_keys(loaded["api"]))
    )
    problems += _password_problems(loaded["redis"], environ)
    if problems:
        raise ConfigError(problems)

    values = {name: section.values for name, section in loaded.items()}
    plugins = _nested_sections("plugins", file, variables, forced)
    return _settings(values, plugins, authenticators, environ)


def load_plugin_settings(
    path: Path | None = None, environ: Mapping[str, str] | None = None
) -> PluginSettings:
    """Read the settings of plugins alone, to check plugins whatever else is wrong.

    Args:
        path: As for `load_settings`.
        environ: As for `load_settings`.

    Raises:
        ConfigError: The file can't be read, or ``[plugins]`` itself is not valid.
    """
    file, forced = read_toml(path) if path else Layer(), Layer()
    variables = split_environ(os.environ if environ is None else environ)
    own = _section(("plugins",), _without_nested(file), variables, forced)
    values = own.load(SCHEMAS["plugins"])
    return _plugin_settings(values, _nested_sections("plugins", file, variables, forced))


def local_origins(port: int) -> tuple[str, ...]:
    """Return the origins of pages that this machine serves itself, as browsers spell them.

    Args:
        port: The TCP port they are served from.
    """
    suffix = "" if port == _HTTP_PORT else f":{port}"
    return (f"http://127.0.0.1{suffix}", f"http://localhost{suffix}")


def _section(
    path: tuple[str, ...],
    file: Layer,
    variables: Mapping[tuple[str, ...], Mapping[str, str]],
    forced: Layer,
) -> Section:
    return Section(path, file.table(*path), variables.get(path, {}), forced.table(*path))


def _nested_sections(
    outer: str,
    file: Layer,
    variables: Mapping[tuple[str, ...], Mapping[str, str]],
    forced: Layer,
) -> dict[str, Section]:
    """The sections of entry points within a section, in the order they stand in."""
    named = [path[1] for path in variables if path[0] == outer and path[1:]]
    return {
        name: _section((outer, name), file, variables, forced)
        for name in (*_nested_tables(outer, file), *_nested_tables(outer, forced), *named)
    }


def _nested_tables(outer: str, layer: Layer) -> list[str]:
    """The entry points that have a section: tables in a section that are none of its own keys."""
    return [
        name
        for name, value in layer.table(outer).values.items()
        if isinstance(value, Mapping) and name not in SCHEMAS[outer].fields
    ]


def _without_nested(layer: Layer) -> Layer:
    values = dict(layer.values)
    for outer in NESTING:
        table = layer.table(outer).values
        if outer not in values or isinstance(values[outer], Mapping):
            nested = _nested_tables(outer, layer)
            values[outer] = {key: table[key] for key in table if key not in nested}
    return Layer(values, layer.places)


def _unknown_tables(layer: Layer) -> Iterator[Problem]:
    for name, value in layer.values.items():
        place = layer.place((name,))
        if name not in SCHEMAS:
            yield Problem(place, f"{dotted_key((name,))}: Unknown section{suggest(name, SCHEMAS)}")
        elif not isinstance(value, Mapping):
            yield Problem(place, f"{name}: Must be a table, [{name}]")
    for outer in NESTING:
        for name in _nested_tables(outer, layer):
            if not _ENTRY_POINT.fullmatch(name):
                path = (outer, name)
                what = "a plugin" if outer == "plugins" else "an authenticator"
                yield Problem(
                    layer.place(path),
                    f"{dotted_key(path)}: Not the name of {what}, which has lower-case letters, "
                    "digits and underscores only and starts with a letter",
                )


def _unknown_variables(variables: Mapping[tuple[str, ...], Iterable[str]]) -> Iterator[Problem]:
    """The variables that name no section; their keys are the section's to check."""
    known = [variable(name, key) for name, schema in SCHEMAS.items() for key in schema.fields]
    for path, names in variables.items():
        if path[0] in SCHEMAS and (len(path) == 1 or _can_be_nested(*path)):
            continue
        for name in names:
            yield Problem(
                name, f"Unknown variable{suggest(name.upper(), known, prefix=variable())}"
            )


def _can_be_nested(outer: str, name: str) -> bool:
    return bool(_ENTRY_POINT.fullmatch(name)) and name not in SCHEMAS[outer].fields


def _identity_problems(
    server: CheckedSection, auth: CheckedSection, *, others: bool
) -> Iterator[Problem]:
    """Nobody gets a server open to the network without having said so, and twice.

    Args:
        server: ``[server]``.
        auth: ``[auth]``.
        others: Whether clients can be anything but anonymous.
    """
    host = server.values.get("host", "localhost")  # not there: not valid, and reported as such
    anonymous = auth.values.get("anonymous", False)
    if is_loopback(host):
        return
    if anonymous is None and not others:
        yield Problem(
            server.layer.place(("server", "host")),
            f"server.host: Other machines can reach {host}, and nothing says how their clients are "
            "authenticated: add a section [auth.jwt], or set api.keys_file to give out tickets",
        )
    elif anonymous and not auth.values.get("anonymous_on_any_address", True):
        yield Problem(
            auth.layer.place(("auth", "anonymous")),
            f"auth.anonymous: server.host is {host}, which other machines can reach: whoever can "
            "reach the port could connect, without an identity. If that is meant, say it a second "
            "time, with auth.anonymous_on_any_address = true; else set this to false",
        )


def _has_keys(api: CheckedSection) -> bool:
    # One that is not valid is reported as such.
    return bool(api.values.get("keys_file", True))


def _password_problems(redis: CheckedSection, environ: Mapping[str, str]) -> Iterator[Problem]:
    name = redis.values.get("password_env")
    if name is not None and not environ.get(name):
        yield Problem(
            redis.layer.place(("redis", "password_env")),
            f"redis.password_env: The environment variable {name!r} is not set, or is empty",
        )


def _settings(
    values: Mapping[str, Mapping[str, Any]],
    plugins: Mapping[str, Section],
    authenticators: Mapping[str, Section],
    environ: Mapping[str, str],
) -> Settings:
    proxies = tuple(values["server"]["trusted_proxies"])
    console = values["server"]["console"]
    if console is None:
        console = is_loopback(values["server"]["host"])
    given = {"trusted_proxies": proxies, "console": console}
    server = ServerSettings(**{**values["server"], **given})
    redis, auth, api = values["redis"], values["auth"], values["api"]
    password = redis["password"] or redis["password_file"]
    if redis["password_env"]:
        password = Secret(environ[redis["password_env"]])
    origins = auth["origins"]
    return Settings(
        server=server,
        redis=RedisSettings(
            url=redis["url"],
            prefix=redis["prefix"],
            password=password,
            timeout=redis["timeout"],
            pool=redis["pool"],
            probe=redis["probe"],
            tls_ca=redis["tls_ca"],
        ),
        connections=ConnectionSettings(**values["connections"]),
        auth=AuthSettings(
            anonymous=_is_open(auth["anonymous"], others=bool(authenticators or api["keys_file"])),
            anonymous_scopes=tuple(auth["anonymous_scopes"]),
            origins=local_origins(server.port) if origins is None else tuple(origins),
            cookie=auth["cookie"],
            timeout=auth["timeout"],
            warn_before=auth["warn_before"],
            grace=auth["grace"],
            revocation_ttl=auth["revocation_ttl"],
            sections=authenticators,
        ),
        api=ApiSettings(keys=api["keys_file"] or (), ticket_ttl=api["ticket_ttl"]),
        limits=LimitSettings(**values["limits"]),
        agents=AgentSettings(**values["agents"]),
        plugins=_plugin_settings(values["plugins"], plugins),
        drain=DrainSettings(**values["drain"]),
        logging=LoggingSettings(**values["logging"]),
    )


def _is_open(anonymous: bool | None, *, others: bool) -> bool:  # noqa: FBT001 - as it is configured
    """Whether clients need no identity. Unset, that has passed only on a loopback host."""
    return not others if anonymous is None else anonymous


def _plugin_settings(values: Mapping[str, Any], sections: Mapping[str, Section]) -> PluginSettings:
    return PluginSettings(
        enabled=tuple(values["enabled"]),
        disabled=tuple(values["disabled"]),
        strict=values["strict"],
        sections=dict(sorted(sections.items())),
    )
