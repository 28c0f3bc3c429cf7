"""The configuration: its keys, their defaults and limits, and the frozen settings they become.

`load_settings` reads a TOML file, the environment and overrides, validates all of it by the
schemas below, and tells every problem at once. `config/jackfield.toml` explains each key.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from .fields import (
    DurationField,
    Secret,
    SecretField,
    is_loopback,
    parse_duration,
)
from .redis_url import RedisAddress, split_redis_url
from .schemas import SCHEMAS
from .section import (
    EMPTY_SECTION,
    Loaded,
    Section,
    describe,
    split_environ,
    suggest,
    variable,
)
from .settings import (
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
from .sources import ConfigError, Layer, Problem, override, read_toml

__all__ = [
    "EMPTY_SECTION",
    "SCHEMAS",
    "AuthSettings",
    "ConfigError",
    "ConnectionSettings",
    "DrainSettings",
    "DurationField",
    "LimitSettings",
    "LoggingSettings",
    "PluginSettings",
    "Problem",
    "RedisAddress",
    "RedisSettings",
    "Secret",
    "SecretField",
    "Section",
    "ServerSettings",
    "Settings",
    "is_loopback",
    "load_plugin_settings",
    "load_settings",
    "local_origins",
    "parse_duration",
    "split_redis_url",
    "suggest",
]

#: The port a browser leaves out of an http origin.
_HTTP_PORT: Final = 80
_PLUGIN_NAME: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


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

    own_file, own_forced = _without_plugins(file), _without_plugins(forced)
    loaded = {
        name: _section((name,), own_file, variables, own_forced).check(schema)
        for name, schema in SCHEMAS.items()
    }
    for section in loaded.values():
        problems += section.problems
    problems += _identity_problems(loaded["server"], loaded["auth"])
    problems += _password_problems(loaded["redis"], environ)
    if problems:
        raise ConfigError(problems)

    plugins = _plugin_sections(file, variables, forced)
    return _settings({name: section.values for name, section in loaded.items()}, plugins, environ)


def load_plugin_settings(
    path: Path | None = None, environ: Mapping[str, str] | None = None
) -> PluginSettings:
    """Read what is said about plugins, for who wants to check them whatever else is wrong.

    Args:
        path: As for `load_settings`.
        environ: As for `load_settings`.

    Raises:
        ConfigError: The file can't be read, or ``[plugins]`` itself is not valid.
    """
    file, forced = read_toml(path) if path else Layer(), Layer()
    variables = split_environ(os.environ if environ is None else environ)
    own = _section(("plugins",), _without_plugins(file), variables, forced)
    values = own.load(SCHEMAS["plugins"])
    return _plugin_settings(values, _plugin_sections(file, variables, forced))


def local_origins(port: int) -> tuple[str, ...]:
    """The origins of pages that this machine serves itself, as browsers spell them.

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


def _plugin_sections(
    file: Layer, variables: Mapping[tuple[str, ...], Mapping[str, str]], forced: Layer
) -> dict[str, Section]:
    named = {path[1] for path in variables if path[1:]}
    return {
        name: _section(("plugins", name), file, variables, forced)
        for name in sorted({*_plugin_tables(file), *_plugin_tables(forced), *named})
    }


def _plugin_tables(layer: Layer) -> list[str]:
    """The plugins that have a section: tables in ``[plugins]`` that are none of its own keys."""
    return [
        name
        for name, value in layer.table("plugins").values.items()
        if isinstance(value, Mapping) and name not in SCHEMAS["plugins"].fields
    ]


def _without_plugins(layer: Layer) -> Layer:
    table = layer.table("plugins").values
    own = {key: table[key] for key in table if key not in _plugin_tables(layer)}
    return Layer({**layer.values, "plugins": own}, layer.places)


def _unknown_tables(layer: Layer) -> Iterator[Problem]:
    for name, value in layer.values.items():
        place = layer.place((name,))
        if name not in SCHEMAS:
            yield Problem(place, f"{describe((name,))}: Unknown section{suggest(name, SCHEMAS)}")
        elif not isinstance(value, Mapping):
            yield Problem(place, f"{name}: Must be a table, [{name}]")
    for name in _plugin_tables(layer):
        if not _PLUGIN_NAME.fullmatch(name):
            path = ("plugins", name)
            yield Problem(
                layer.place(path),
                f"{describe(path)}: Not the name of a plugin, which has lower-case letters, digits "
                "and underscores only and starts with a letter",
            )


def _unknown_variables(variables: Mapping[tuple[str, ...], Iterable[str]]) -> Iterator[Problem]:
    """The variables that name no section; their keys are the section's to check."""
    known = [variable(name, key) for name, schema in SCHEMAS.items() for key in schema.fields]
    for path, names in variables.items():
        if path[0] in SCHEMAS and (len(path) == 1 or _can_be_plugin(path[1])):
            continue
        for name in names:
            yield Problem(
                name, f"Unknown variable{suggest(name.upper(), known, prefix=variable())}"
            )


def _can_be_plugin(name: str) -> bool:
    return bool(_PLUGIN_NAME.fullmatch(name)) and name not in SCHEMAS["plugins"].fields


def _identity_problems(server: Loaded, auth: Loaded) -> Iterator[Problem]:
    """Nobody gets a server open to the network without having said so."""
    host = server.values.get("host", "localhost")  # not there: not valid, and reported as such
    anonymous = auth.values.get("anonymous", True)
    if anonymous or is_loopback(host):
        return
    if anonymous is None:
        where = server.layer.place(("server", "host"))
    else:
        where = auth.layer.place(("auth", "anonymous"))
    yield Problem(
        where,
        f"auth.anonymous: Must be set to true, because server.host is {host}, which other machines "
        "can reach, and there is no other way to authenticate clients yet: whoever can reach the "
        "port can then connect",
    )


def _password_problems(redis: Loaded, environ: Mapping[str, str]) -> Iterator[Problem]:
    name = redis.values.get("password_env")
    if name is not None and not environ.get(name):
        yield Problem(
            redis.layer.place(("redis", "password_env")),
            f"redis.password_env: The environment variable {name!r} is not set, or is empty",
        )


def _settings(
    values: Mapping[str, Mapping[str, Any]],
    plugins: Mapping[str, Section],
    environ: Mapping[str, str],
) -> Settings:
    server = ServerSettings(**values["server"])
    redis, auth = values["redis"], values["auth"]
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
        ),
        connections=ConnectionSettings(**values["connections"]),
        auth=AuthSettings(
            # Unset has passed only where the host is a loopback one.
            anonymous=auth["anonymous"] is not False,
            origins=local_origins(server.port) if origins is None else tuple(origins),
        ),
        limits=LimitSettings(**values["limits"]),
        plugins=_plugin_settings(values["plugins"], plugins),
        drain=DrainSettings(**values["drain"]),
        logging=LoggingSettings(**values["logging"]),
    )


def _plugin_settings(values: Mapping[str, Any], sections: Mapping[str, Section]) -> PluginSettings:
    return PluginSettings(
        enabled=tuple(values["enabled"]),
        disabled=tuple(values["disabled"]),
        strict=values["strict"],
        sections=sections,
    )
