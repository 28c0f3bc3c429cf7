"""The configuration: its keys, their defaults and limits, and the frozen settings they become.

`load_settings` reads a TOML file, the environment and overrides, validates all of it, and tells
every problem at once. `config/jackfield.toml` explains each key.
"""

from .fields import DurationField, Secret, SecretField, SecretFileField, is_loopback, parse_duration
from .loading import load_plugin_settings, load_settings
from .problems import ConfigError, Problem, suggest
from .redis_url import split_redis_url
from .schemas import SCHEMAS
from .section import Section
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
from .tls import load_certificate, server_context

__all__ = [
    "SCHEMAS",
    "AgentSettings",
    "ApiSettings",
    "AuthSettings",
    "ConfigError",
    "ConnectionSettings",
    "DrainSettings",
    "DurationField",
    "LimitSettings",
    "LoggingSettings",
    "PluginSettings",
    "Problem",
    "RedisSettings",
    "Secret",
    "SecretField",
    "SecretFileField",
    "Section",
    "ServerSettings",
    "Settings",
    "is_loopback",
    "load_certificate",
    "load_plugin_settings",
    "load_settings",
    "parse_duration",
    "server_context",
    "split_redis_url",
    "suggest",
]
