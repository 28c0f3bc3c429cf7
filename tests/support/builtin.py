"""The built-in message types, as they are declared."""

from collections.abc import Iterator

import jackfield_handlers.agent
import jackfield_handlers.auth
import jackfield_handlers.request
import jackfield_handlers.session
import jackfield_handlers.topic
from jackfield.plugin.handler import Handler


def built_in() -> Iterator[Handler]:
    """Yield the declaration of every built-in message type."""
    for plugin in (
        jackfield_handlers.agent.agent,
        jackfield_handlers.auth.auth,
        jackfield_handlers.request.request,
        jackfield_handlers.session.session,
        jackfield_handlers.topic.topic,
    ):
        yield from plugin.handlers.values()
