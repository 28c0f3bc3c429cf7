"""`Pattern`: which names of topics are of one family, and which words of them are its parts.

A name's words are joined by ``:``. A pattern has a word of its own, or a named part, for each.
"""

import re
from collections.abc import Iterable
from keyword import iskeyword
from typing import Final, NamedTuple, Self

from jackfield.wire.errors import RegistrationError
from jackfield.wire.topic_limits import MAX_TOPIC_LENGTH

_LITERAL: Final = re.compile(r"[a-z0-9_.-]+")
_PART: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\*?)\}")
#: Control characters garble logs and terminals; half a surrogate pair can't be UTF-8.
_UNFIT: Final = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
_WORD: Final = re.compile(rf"[^:{_UNFIT}]+")
_REST: Final = re.compile(rf"[^{_UNFIT}]+")
#: Parts are passed on by name, beside arguments that have these names.
_RESERVED: Final = frozenset({"ctx", "data", "key", "payload", "self", "source"})


class _Segment(NamedTuple):
    """What one word of a name must be: ``literal``, or anything and then called ``part``."""

    literal: str = ""
    part: str = ""
    rest: bool = False

    @property
    def fitting(self) -> re.Pattern[str]:
        return _REST if self.rest else _WORD

    @property
    def expression(self) -> str:
        return f"(?P<{self.part}>{self.fitting.pattern})" if self.part else re.escape(self.literal)


class Pattern:
    """The pattern of a family's names, such as ``room:{name}``.

    Its segments, joined by ``:``, are words (lower-case letters, digits and ``_.-``) and parts:
    ``{name}`` stands for one or more characters other than ``:``, and ``{name*}``, as the last
    segment only, for one or more of any. The first segment is a word. No name has control
    characters or is longer than `MAX_TOPIC_LENGTH`.

    Attributes:
        head: The first word, the same in every name.
        parts: The names of the parts, in their order.

    Args:
        text: The pattern.

    Raises:
        RegistrationError: It is none; the words say why.
    """

    __slots__ = ("_match", "_segments", "_text", "head", "parts")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise RegistrationError(
                f"{text!r} can't be a topic's pattern: write a string such as 'room:{{name}}'"
            )
        self._text = text
        self._segments = tuple(_read(segment, text) for segment in text.split(":"))
        self.head = self._segments[0].literal
        self.parts = tuple(segment.part for segment in self._segments if segment.part)
        self._check()
        expression = ":".join(segment.expression for segment in self._segments)
        self._match = re.compile(expression).fullmatch

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Pattern({self._text!r})"

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the parts of a name.

        Returns:
            Each part's text by its name; None if the name is not of this pattern.
        """
        found = self._match(topic) if len(topic) <= MAX_TOPIC_LENGTH else None
        return None if found is None else found.groupdict()

    def format(self, /, **parts: str) -> str:
        """Return the name that has these parts: what `match` takes apart again.

        Args:
            **parts: The text of each part.

        Raises:
            ValueError: A part is missing, isn't of this pattern or doesn't fit, or the name would
                be too long. The words do not quote the text, which may be a client's.
        """
        for part in parts:
            if part not in self.parts:
                raise ValueError(f"topic {self._text!r} has no part {part!r}: {self._hint()}")
        topic = ":".join(self._fill(segment, parts) for segment in self._segments)
        if len(topic) > MAX_TOPIC_LENGTH:
            raise ValueError(
                f"a name of topic {self._text!r} would be {len(topic)} characters long, and may be "
                f"{MAX_TOPIC_LENGTH}"
            )
        return topic

    def overlaps(self, other: Self) -> bool:
        """Return whether there is a name that both patterns match."""
        fewer, more = sorted((self._segments, other._segments), key=len)
        beyond = more[len(fewer) :]
        if beyond and not fewer[-1].rest:
            return False
        pairs = list(zip(fewer, more, strict=False))
        if any(a.literal and b.literal and a.literal != b.literal for a, b in pairs):
            return False
        return _fits([*(a if a.literal else b for a, b in pairs), *beyond])

    def _fill(self, segment: _Segment, parts: dict[str, str]) -> str:
        if not segment.part:
            return segment.literal
        if segment.part not in parts:
            raise ValueError(f"topic {self._text!r} needs the part {segment.part!r}")
        text = parts[segment.part]
        what = f"the part {segment.part!r} of topic {self._text!r}"
        if not isinstance(text, str):
            raise ValueError(f"{what} must be a string, not {type(text).__name__}")  # noqa: TRY004 - one kind of error for a wrong part
        if not text:
            raise ValueError(f"{what} must not be empty")
        if not segment.fitting.fullmatch(text):
            colon = "" if segment.rest else "':' or "
            raise ValueError(f"{what} must not have {colon}control characters")
        return text

    def _hint(self) -> str:
        if not self.parts:
            return "it has none"
        return f"there {'is' if len(self.parts) == 1 else 'are'} {', '.join(self.parts)}"

    def _check(self) -> None:
        """Refuse what each segment by itself doesn't tell."""
        if not self.head:
            raise RegistrationError(
                f"the pattern {self._text!r} must start with a word, as 'room:{{name}}' does"
            )
        for segment in self._segments[:-1]:
            if segment.rest:
                raise RegistrationError(
                    f"'{{{segment.part}*}}' in the pattern {self._text!r} takes all that is left: "
                    "it must be the last segment"
                )
        for part in self.parts:
            if iskeyword(part) or part in _RESERVED:
                raise RegistrationError(
                    f"the part {part!r} of the pattern {self._text!r} is reserved: choose another"
                )
        if len(set(self.parts)) < len(self.parts):
            raise RegistrationError(
                f"the pattern {self._text!r} has two parts of one name: rename one"
            )
        if not _fits(self._segments):
            raise RegistrationError(
                f"the pattern {self._text[:40]!r}... is too long: a topic's name has at most "
                f"{MAX_TOPIC_LENGTH} characters"
            )


def _read(segment: str, pattern: str) -> _Segment:
    if _LITERAL.fullmatch(segment):
        return _Segment(literal=segment)
    if part := _PART.fullmatch(segment):
        return _Segment(part=part[1], rest=bool(part[2]))
    raise RegistrationError(
        f"{segment!r} can't be a segment of the pattern {pattern!r}: use lower-case letters, "
        "digits and '_.-', or a part such as '{name}', or as the last one '{name*}'"
    )


def _fits(segments: Iterable[_Segment]) -> bool:
    """Whether the shortest name of these segments is short enough: parts of one character."""
    return len(":".join(segment.literal or "x" for segment in segments)) <= MAX_TOPIC_LENGTH
