"""The types of the functions that a plugin's author writes, beside handlers."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from jackfield.authoring.context import Context
from jackfield.authoring.runtime import Runtime

#: Calls the next middleware, or the handler behind the last one.
CallNext = Callable[[Context, Any], Awaitable[Any]]

Middleware = Callable[[Context, Any, CallNext], Awaitable[Any]]

#: Runs when a client has connected, or when its connection has ended.
Hook = Callable[[Context], Awaitable[None]]

#: Starts what a plugin needs up to its one ``yield``, and stops it after that.
Lifespan = Callable[[Runtime], AsyncGenerator[Any, None]]
