"""JSON Pointers (RFC 6901): where in a JSON document a value stands."""


def pointer_to(*keys: object) -> str:
    """Return the pointer that leads along these keys; that of the whole document without any.

    Args:
        *keys: Keys of objects and indices of lists, from the outermost inwards.
    """
    return "".join(f"/{_escape(str(key))}" for key in keys)


def keys_along(pointer: str) -> list[str]:
    """Return the keys and indices that a valid pointer leads along."""
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
