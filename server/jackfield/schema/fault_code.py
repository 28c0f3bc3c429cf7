"""The codes of faults: names in snake case, and error texts that carry one."""

import re
from typing import Any, Final, Self

#: The code of a text that nobody gave one: a custom field, or a validation method's own words.
UNNAMED: Final = "invalid"

#: Between a lower-case letter or a digit and a capital, and before the last capital of several.
_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class CodedText(str):
    """An error text of marshmallow's that remembers the code of its error."""

    __slots__ = ("code",)
    code: str

    def __new__(cls, text: str, code: str) -> Self:
        """Make the text, and give it its code."""
        self = super().__new__(cls, text)
        self.code = code
        return self

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # a copy keeps its code
        return str(self), self.code

    def format(self, *args: object, **kwargs: object) -> "CodedText":
        """As `str.format`, and still coded: marshmallow formats every text before it raises."""
        return CodedText(super().format(*args, **kwargs), self.code)


def with_code(messages: Any, code: str) -> Any:
    """Return an error's messages with a code for every text in them that has none.

    Args:
        messages: A text, a list of them, or a dictionary of these, as marshmallow nests them.
        code: The code.
    """
    if isinstance(messages, dict):
        return {key: with_code(below, code) for key, below in messages.items()}
    if isinstance(messages, list):
        return [with_code(below, code) for below in messages]
    if isinstance(messages, str) and not isinstance(messages, CodedText):
        return CodedText(messages, code)
    return messages


def code_of(text: Any) -> str:
    """Return the code of an error text."""
    return text.code if isinstance(text, CodedText) else UNNAMED


def snake_case(name: str) -> str:
    """Return the name of a class or a keyword in snake case: ``HTTPOnly`` as ``http_only``."""
    return _WORD_START.sub("_", name).strip("_").lower()
