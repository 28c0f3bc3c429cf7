"""Jackfield: a WebSocket message server in which every message type is a plugin.

What stands here is what a plugin may import; nothing else is public, except the modules
`jackfield.client`, the Python client, and `jackfield.testing`, for plugins' tests.
"""

from .auth import Credentials
from .authoring.context import Context
from .authoring.runtime import Runtime
from .config.fields import DurationField, Secret, SecretField
from .declaration.replies import Reply
from .declaration.topic_family import TopicFamily
from .plugin.hooks import CallNext
from .plugin.plugin import Plugin
from .schema.validation import AnyPayload, NoPayload
from .wire.errors import Error, RegistrationError
from .wire.identity import Identity
from .wire.position import Position

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
