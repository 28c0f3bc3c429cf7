"""The Lua scripts of the store."""

from functools import partial
from typing import Final

from jackfield.redis import lua

load: Final = partial(lua.load, __package__)
