"""The functions that a plugin's author writes, by what they are called with."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from jackfield.authoring.context import Context
from jackfield.authoring.runtime import Runtime

#: Runs the rest of the chain: the next middleware, or at last the handler itself.
CallNext = Callable[[Context, Any], Awaitable[Any]]


Middleware = Callable[[Context, Any, CallNext], Awaitable[Any]]


Hook = Callable[[Context], Awaitable[None]]


Lifespan = Callable[[Runtime], AsyncGenerator[Any, None]]
