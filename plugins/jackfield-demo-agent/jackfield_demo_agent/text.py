"""What the agent knows about text: pure functions, which say the same to the same each time."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

#: A sentence ends with what ends sentences, before a space, or with its line.
_SENTENCE: Final = re.compile(r"[^\s].*?(?:[.!?…]+(?=\s|$)|$)", re.MULTILINE)
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
#: A piece to be streamed: a word with the space behind it, so that all together are the text.
_PIECE: Final = re.compile(r"\S+\s*|^\s+")
#: Words that say nothing of what a sentence is about.
_COMMON: Final = frozenset(
    """
    a about all also an and any are as at be been but by can could did do does for from get had
    has have he her here him his how i if in into is it its just know like may me more my no not
    of on one or our out please said say says she so some such tell than that the their them then
    there these they this those to up us was we were what when where which who why will with would
    you your
    """.split()  # noqa: SIM905 - it reads better so
)
#: What asks for a summary of a room.
_SUMMARY: Final = re.compile(r"\b(?:summar\w*|recap|tl;?dr)\b", re.IGNORECASE)
#: Words that an answer names, of those that nothing was found for.
_NAMED: Final = 3


class Line(NamedTuple):
    """Something that was said in a room."""

    nick: str
    text: str


def split_sentences(text: str) -> list[str]:
    """The sentences of a text; a line ends one too."""
    return [found[0].strip() for found in _SENTENCE.finditer(text)]


def split_pieces(text: str) -> list[str]:
    """A text word by word: joined, the pieces are the text."""
    return _PIECE.findall(text)


def summarise(text: str, count: int) -> str:
    """Those sentences that have the most frequent words, in the order of the text.

    Args:
        text: The text.
        count: How many sentences.
    """
    sentences = split_sentences(text)
    frequencies = Counter(word for sentence in sentences for word in _topics(sentence))
    best = sorted(
        range(len(sentences)),
        key=lambda place: (-_weight(sentences[place], frequencies), place),
    )
    return " ".join(sentences[place] for place in sorted(best[:count]))


def reply(text: str, room: Sequence[Line], nick: str | None = None) -> str:
    """Answer from what was said in a room.

    Args:
        text: What the agent was asked.
        room: What was said, in its order, perhaps the question as well.
        nick: Who asks.
    """
    said = [line for line in room if line.text != text]
    if _SUMMARY.search(text):
        return _recap(said)
    asked = _topics(text)
    if not asked:
        hello = f"Hello {nick}." if nick else "Hello."
        return f"{hello} Ask me what was said here about something, or for a summary."
    best = _best(asked, said)
    if best is None:
        return f"Nobody here has said anything about {_list(dict.fromkeys(asked))}."
    return f"{best.nick} said: “{best.text}”"


def _recap(said: Sequence[Line]) -> str:
    if not said:
        return "Nobody has said anything here."
    people = _list(dict.fromkeys(line.nick for line in said))
    summary = summarise("\n".join(line.text for line in said), 2)
    return f"In short, of {people}: {summary}"


def _best(asked: Iterable[str], said: Sequence[Line]) -> Line | None:
    """The sentence that has the most of what was asked; of several, the latest."""
    wanted = set(asked)
    found: Line | None = None
    most = 1
    for line in said:
        for sentence in split_sentences(line.text):
            common = len(wanted.intersection(_topics(sentence)))
            if common >= most:
                found, most = Line(line.nick, sentence), common
    return found


def _topics(text: str) -> list[str]:
    words = (word[0].lower() for word in _WORD.finditer(text))
    return [word for word in words if word not in _COMMON]


def _weight(sentence: str, frequencies: Counter[str]) -> float:
    """How much of the text a sentence has in each of its words, so that length does not win."""
    words = _topics(sentence)
    return sum(frequencies[word] for word in words) / len(words) if words else 0.0


def _list(words: Iterable[str]) -> str:
    *first, last = [*words][:_NAMED]
    return f"{', '.join(first)} and {last}" if first else last
