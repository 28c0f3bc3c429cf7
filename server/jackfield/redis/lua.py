"""Lua scripts, read from their files."""

from importlib.resources import files

from .client import Script


def load(package: str, name: str, *parts: str) -> Script:
    """A script by the name of its file.

    Args:
        package: The package in whose folder ``scripts`` it lies.
        name: Its name, without the ending.
        *parts: The names of parts that it shares with others; they stand before the script's own
            text, behind the line that declares its flags.
    """
    folder = files(package) / "scripts"
    flags, *rest = [(folder / f"{each}.lua").read_text("utf-8") for each in (name, *parts)]
    flags, _, own = flags.partition("\n")
    return Script("\n".join([flags, *rest, own]))
