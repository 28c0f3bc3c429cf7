"""The Lua scripts, read from their files."""

from importlib.resources import files
from typing import Final

from .client import Script

_FOLDER: Final = files(__package__) / "scripts"


def load(name: str, *, part: str | None = None) -> Script:
    """A script by the name of its file.

    Args:
        name: Its name, without the ending.
        part: The name of a part that it shares with others; it stands before the script's own
            text, behind the line that declares its flags.
    """
    source = _read(name)
    if part is not None:
        flags, _, rest = source.partition("\n")
        source = f"{flags}\n{_read(part)}{rest}"
    return Script(source)


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text("utf-8")
