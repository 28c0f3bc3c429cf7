"""`Slot`: a typed place on a connection, in which one feature keeps what it knows of it."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """A key of `Connection`, as `aiohttp.web.AppKey` is one of an application.

    A feature makes one, as a constant of its module. The value is made when a connection is first
    asked for it: a connection that doesn't use the feature costs nothing.

    Args:
        name: Its name in a `repr`.
        make: Makes the value for a connection.
    """

    __slots__ = ("make", "name")

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        self.name = name
        self.make = make

    def __repr__(self) -> str:
        return f"Slot({self.name!r})"
