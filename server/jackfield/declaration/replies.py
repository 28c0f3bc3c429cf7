"""What a streaming handler may yield beside the chunks of its answer."""

from typing import Any


class Reply:
    """What a streaming handler yields last, to have its reply carry more than nothing.

    Args:
        payload: The payload of the reply, a mapping.
    """

    __slots__ = ("payload",)

    def __init__(self, payload: Any) -> None:
        self.payload = payload


class Stated(Reply):
    """A chunk that is no part of the answer itself, but tells what state it is in.

    Args:
        state: The state, which stands beside the payload.
        payload: More about it, a mapping.
    """

    __slots__ = ("state",)

    def __init__(self, state: str, payload: Any) -> None:
        super().__init__(payload)
        self.state = state
