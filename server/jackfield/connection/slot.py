"""`Slot`: a typed place on a connection, in which one feature keeps what it knows of it."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """A key of `Connection`, as `aiohttp.web.AppKey` is one of an application.

    A feature makes one, once, for its module. What stands in the slot of a connection is made when
    it is first asked for: a connection that doesn't use the feature costs nothing.

    Args:
        name: What to call it when debugging.
        make: Makes what stands in it at first.
    """

    __slots__ = ("make", "name")

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        self.name = name
        self.make = make

    def __repr__(self) -> str:
        return f"Slot({self.name!r})"
