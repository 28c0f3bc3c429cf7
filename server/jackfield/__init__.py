"""Jackfield: a WebSocket message server in which every message type is a plugin.

What stands here is what a plugin may import; nothing else is public, except the modules
`jackfield.client`, the Python client, and `jackfield.testing`, for plugins' tests.
"""

from .answer import Reply
from .auth import Credentials, Identity
from .config.fields import DurationField, Secret, SecretField
from .context import Context
from .errors import Error, RegistrationError
from .plugin import CallNext, Plugin
from .runtime import Runtime
from .topic import Position, TopicFamily
from .validation import AnyPayload, NoPayload

__all__ = [
    "AnyPayload",
    "CallNext",
    "Context",
    "Credentials",
    "DurationField",
    "Error",
    "Identity",
    "NoPayload",
    "Plugin",
    "Position",
    "RegistrationError",
    "Reply",
    "Runtime",
    "Secret",
    "SecretField",
    "TopicFamily",
]
