"""The Lua scripts of the store, with the templates that they name.

A script has no key, no message and no error of its own: it calls a template, which stands in Python
once, and gives what its holes are filled with.
"""

from functools import partial
from typing import Final

from jackfield.redis import lua
from jackfield.wire import protocol, tasks

from . import channels, keys

TEMPLATES: Final = {
    **keys.TEMPLATES,
    **channels.TEMPLATES,
    **tasks.TEMPLATES,
    "presence_joined": protocol.PRESENCE_JOINED,
    "presence_left": protocol.PRESENCE_LEFT,
    # What a one-time ticket says, without its closing brace, and when it was made.
    "ticket": '$grant,"issued_at":$issued_at}',
}

load: Final = partial(lua.load, __package__, templates=TEMPLATES)
