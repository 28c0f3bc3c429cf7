"""Lua scripts, read from their files, with the templates that they name put into them."""

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from .client import Script

#: A hole, as those of `string.Template`.
_HOLE: Final = re.compile(r"\$([a-z_]+)")
#: What begins, ends or parts arguments in Lua; and strings and comments, in which nothing does.
_TOKEN: Final = re.compile(r"'(?:\\.|[^'\\])*'|--.*|[(){},]")
_ESCAPES: Final = str.maketrans({"\\": r"\\", "'": r"\'", "\n": r"\n"})


def load(
    package: str,
    name: str,
    *parts: str,
    templates: Mapping[str, str] = MappingProxyType({}),
) -> Script:
    """A script by the name of its file.

    Args:
        package: The package in whose folder ``scripts`` it lies.
        name: Its name, without the ending.
        *parts: The names of parts that it shares with others; they stand before the script's own
            text, behind the line that declares its flags.
        templates: See `filled`.
    """
    folder = files(package) / "scripts"
    flags, *shared = [(folder / f"{each}.lua").read_text("utf-8") for each in (name, *parts)]
    flags, _, own = flags.partition("\n")
    return Script("\n".join([flags, *(filled(each, templates) for each in (*shared, own))]))


def filled(text: str, templates: Mapping[str, str]) -> str:
    """Put templates where a script calls them.

    With ``"$agent:task:$task"`` as the template ``task_key``, ``task_key(base, id)`` becomes
    ``(base .. ':task:' .. id)``. Functions of Lua would do the same, but a script has to make all
    of them anew each time it runs: that cost a call for a task 5 of 80 us.

    Args:
        text: The script.
        templates: Texts with holes, by name; a call gives what the holes are filled with, in the
            order in which they first stand.

    Raises:
        ValueError: A call gives more or less than there are holes.
    """
    if not templates:
        return text
    call = re.compile(rf"--.*|\b({'|'.join(templates)})\(")
    pieces, end = [], 0
    while (match := call.search(text, end)) is not None:
        if match[1] is None:  # a comment
            pieces.append(text[end : match.end()])
            end = match.end()
            continue
        pieces.append(text[end : match.start()])
        arguments, end = _arguments(text, match.end())
        arguments = [filled(each, templates) for each in arguments if each]
        pieces.append(_expression(templates[match[1]], arguments))
    return "".join([*pieces, text[end:]])


def _arguments(text: str, start: int) -> tuple[list[str], int]:
    """The arguments of a call, and where it ends; it begins behind its parenthesis."""
    arguments, depth, end = [], 0, start
    for token in _TOKEN.finditer(text, start):
        if token[0] in "({":
            depth += 1
        elif not depth and token[0] in "),":
            arguments.append(text[end : token.start()].strip())
            end = token.end()
            if token[0] == ")":
                return arguments, end
        elif token[0] in ")}":
            depth -= 1
    raise ValueError(f"a call does not end: {text[start:]}")


def _expression(template: str, arguments: list[str]) -> str:
    """The Lua expression that joins the pieces of a template with what fills its holes."""
    holes = dict.fromkeys(_HOLE.findall(template))
    given = dict(zip(holes, map(_operand, arguments), strict=True))
    pieces = _HOLE.split(template)  # texts and holes in turn
    pieces[::2] = [text and _quoted(text) for text in pieces[::2]]
    pieces[1::2] = [given[hole] for hole in pieces[1::2]]
    return f"({' .. '.join(filter(None, pieces))})"


def _operand(argument: str) -> str:
    return argument if re.fullmatch(r"[\w.]+", argument) else f"({argument})"


def _quoted(text: str) -> str:
    return f"'{text.translate(_ESCAPES)}'"
