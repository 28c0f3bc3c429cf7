"""The Lua scripts, read from their files."""

from importlib.resources import files
from typing import Final

from .client import Script

_FOLDER: Final = files(__package__) / "scripts"


def load(name: str, *parts: str) -> Script:
    """A script by the name of its file.

    Args:
        name: Its name, without the ending.
        *parts: The names of parts that it shares with others; they stand before the script's own
            text, behind the line that declares its flags.
    """
    flags, _, rest = _read(name).partition("\n")
    return Script("\n".join([flags, *map(_read, parts), rest]))


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text("utf-8")
