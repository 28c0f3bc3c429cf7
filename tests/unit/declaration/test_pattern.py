"""A pattern matches its names and makes them, and knows which other pattern would take them too."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.declaration.pattern import Pattern
from jackfield.wire.errors import RegistrationError
from jackfield.wire.topic_limits import MAX_TOPIC_LENGTH

words = st.text("ab_.-9", min_size=1, max_size=6)
#: What a name may have: no control characters (Cc), no half of a surrogate pair (Cs).
fitting = st.characters(exclude_categories=["Cc", "Cs"])
texts = st.text(fitting.filter(lambda character: character != ":"), min_size=1, max_size=12)
rests = st.text(fitting | st.just(":"), min_size=1, max_size=12)


@st.composite
def patterns_with_parts(draw: st.DrawFn) -> tuple[Pattern, dict[str, str]]:
    """A pattern, and what its parts are in a name of it."""
    segments = [draw(words)]
    parts: dict[str, str] = {}
    for index, is_part in enumerate(draw(st.lists(st.booleans(), max_size=4))):
        if is_part:
            segments.append(f"{{p{index}}}")
            parts[f"p{index}"] = draw(texts)
        else:
            segments.append(draw(words))
    if draw(st.booleans()):
        segments.append("{rest*}")
        parts["rest"] = draw(rests)
    return Pattern(":".join(segments)), parts


@st.composite
def patterns_of_one_name(draw: st.DrawFn) -> tuple[str, Pattern, Pattern]:
    """A name of words, and any two patterns that match it."""
    first, *others = draw(st.lists(words, min_size=1, max_size=5))

    def pattern() -> Pattern:
        are_parts = draw(st.lists(st.booleans(), min_size=len(others), max_size=len(others)))
        segments = [
            f"{{p{index}}}" if is_part else word
            for index, (word, is_part) in enumerate(zip(others, are_parts, strict=True))
        ]
        cut = draw(st.integers(0, len(others)))
        if cut < len(others):
            segments[cut:] = ["{rest*}"]
        return Pattern(":".join([first, *segments]))

    return ":".join([first, *others]), pattern(), pattern()


@given(patterns_with_parts())
def test_what_is_formatted_is_matched_part_by_part(made: tuple[Pattern, dict[str, str]]) -> None:
    pattern, parts = made
    assert pattern.parts == tuple(parts)
    name = pattern.format(**parts)
    assert name.startswith(pattern.head)
    assert pattern.match(name) == parts


@given(patterns_of_one_name())
def test_two_patterns_of_one_name_overlap(made: tuple[str, Pattern, Pattern]) -> None:
    name, one, other = made
    assert one.match(name) is not None
    assert other.match(name) is not None
    assert one.overlaps(other)
    assert other.overlaps(one)


def small_patterns() -> list[Pattern]:
    """Every pattern of up to three segments, with words of one letter."""
    texts = list("ab")
    for length in (1, 2):
        for middle in product(["a", "b", "{x}", "{y}"], repeat=length - 1):
            for last in ("a", "b", "{z}", "{z*}"):
                segments = [*middle, last]
                if segments.count("{x}") < 2 and segments.count("{y}") < 2:
                    texts += [":".join([first, *segments]) for first in "ab"]
    return [Pattern(text) for text in texts]


def small_names() -> list[str]:
    return ["".join(name) for length in range(1, 6) for name in product("ab:", repeat=length)]


def test_what_is_matched_is_formatted_to_the_same_name() -> None:
    for pattern, name in product(small_patterns(), small_names()):
        parts = pattern.match(name)
        assert parts is None or pattern.format(**parts) == name


def test_patterns_overlap_exactly_if_there_is_a_name_that_both_match() -> None:
    names, patterns = small_names(), small_patterns()
    matched = [{name for name in names if pattern.match(name) is not None} for pattern in patterns]
    assert all(matched)
    for one, its in zip(patterns, matched, strict=True):
        for other, others in zip(patterns, matched, strict=True):
            assert one.overlaps(other) is bool(its & others), (one, other)


@pytest.mark.parametrize(
    ("pattern", "topic", "parts"),
    [
        ("broadcast", "broadcast", {}),
        ("broadcast", "broadcast:a", None),
        ("broadcast", "broadcas", None),
        ("room:{name}", "room:lobby", {"name": "lobby"}),
        ("room:{name}", "room:Ärger & Co/é😀", {"name": "Ärger & Co/é😀"}),
        ("room:{name}", "room:", None),
        ("room:{name}", "room", None),
        ("room:{name}", "room:a:b", None),
        ("room:{name}", "rooms:a", None),
        ("room:{name}", "Room:a", None),
        ("room:{name}", "", None),
        ("room:{name}", "room:{name}", {"name": "{name}"}),
        ("room:{a}:{b}", "room:x:y", {"a": "x", "b": "y"}),
        ("room:{a}:log", "room:x:log", {"a": "x"}),
        ("room:{a}:log", "room:log", None),
        ("v1.0:{a}", "v1.0:x", {"a": "x"}),
        ("v1.0:{a}", "v1x0:x", None),
        ("file:{path*}", "file:a:b::c", {"path": "a:b::c"}),
        ("file:{path*}", "file::", {"path": ":"}),
        ("file:{path*}", "file:", None),
        ("file:{user}:{path*}", "file:u:a:b", {"user": "u", "path": "a:b"}),
    ],
)
def test_a_name_is_taken_apart_or_is_of_another_pattern(
    pattern: str, topic: str, parts: dict[str, str] | None
) -> None:
    assert Pattern(pattern).match(topic) == parts


@pytest.mark.parametrize("pattern", ["room:{name}", "room:{name*}"])
@pytest.mark.parametrize("unfit", ["\n", "a\n", "\0", "\x1f", "\x7f", "\x85", "\x9f", "\udfff"])
def test_no_name_has_control_characters(pattern: str, unfit: str) -> None:
    assert Pattern(pattern).match(f"room:{unfit}") is None
    with pytest.raises(ValueError, match=r"must not have .*control characters$"):
        Pattern(pattern).format(name=unfit)


@pytest.mark.parametrize("pattern", ["room:{name}", "room:{name*}"])
def test_a_name_has_as_many_characters_as_are_allowed_and_no_more(pattern: str) -> None:
    longest = "ä" * (MAX_TOPIC_LENGTH - len("room:"))
    assert Pattern(pattern).match(f"room:{longest}") == {"name": longest}
    assert Pattern(pattern).format(name=longest) == f"room:{longest}"
    assert Pattern(pattern).match(f"room:{longest}ä") is None
    with pytest.raises(ValueError, match="would be 256 characters long, and may be 255"):
        Pattern(pattern).format(name=longest + "ä")


def test_patterns_that_only_too_long_a_name_would_match_do_not_overlap() -> None:
    long = "x" * 125
    one = Pattern(f"room:{long}:{{a}}")
    for letters, overlap in ((124, True), (125, False)):
        other = Pattern(f"room:{{a}}:{'y' * letters}")
        shared = f"room:{long}:{'y' * letters}"
        assert (one.match(shared) is not None and other.match(shared) is not None) is overlap
        assert one.overlaps(other) is overlap
        assert other.overlaps(one) is overlap


@pytest.mark.parametrize(
    ("pattern", "parts", "words"),
    [
        ("room:{name}", {}, "topic 'room:{name}' needs the part 'name'"),
        (
            "room:{name}",
            {"name": "a", "nmae": "b"},
            "topic 'room:{name}' has no part 'nmae': there is name",
        ),
        ("a:{b}:{c}", {"d": "x"}, "topic 'a:{b}:{c}' has no part 'd': there are b, c"),
        ("broadcast", {"name": "x"}, "topic 'broadcast' has no part 'name': it has none"),
        (
            "room:{name}",
            {"name": ""},
            "the part 'name' of topic 'room:{name}' must not be empty",
        ),
        (
            "room:{name}",
            {"name": 5},
            "the part 'name' of topic 'room:{name}' must be a string, not int",
        ),
        (
            "room:{name}",
            {"name": "a:b"},
            "the part 'name' of topic 'room:{name}' must not have ':' or control characters",
        ),
        (
            "file:{path*}",
            {"path": "a\nb"},
            "the part 'path' of topic 'file:{path*}' must not have control characters",
        ),
    ],
)
def test_a_name_that_can_not_be_is_refused_in_words(
    pattern: str, parts: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        Pattern(pattern).format(**parts)
    assert str(caught.value) == words


def test_a_pattern_shows_as_it_was_written() -> None:
    pattern = Pattern("room:{name}")
    assert str(pattern) == "room:{name}"
    assert repr(pattern) == "Pattern('room:{name}')"


A_SEGMENT = (
    "use lower-case letters, digits and '_.-', or a part such as '{name}', or as the last one "
    "'{name*}'"
)
NO_SEGMENTS = (
    *("", "Room", "é", "a b", "a\n", "*", "{}", "{*}", "{name", "name}", "{na me}", "{1a}"),
    *("{é}", "{name**}", "{*name}", "a{name}", "{a}{b}", "{name}\n"),
)


@pytest.mark.parametrize("segment", NO_SEGMENTS)
@pytest.mark.parametrize("pattern", ["{}", "{}:a", "a:{}", "a:{}:b"])
def test_a_segment_is_a_word_or_a_part(segment: str, pattern: str) -> None:
    text = pattern.format(segment)
    with pytest.raises(RegistrationError) as caught:
        Pattern(text)
    assert str(caught.value) == (
        f"{segment!r} can't be a segment of the pattern {text!r}: {A_SEGMENT}"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (5, "5 can't be a topic's pattern: write a string such as 'room:{name}'"),
        (None, "None can't be a topic's pattern: write a string such as 'room:{name}'"),
        ("{a}", "the pattern '{a}' must start with a word, as 'room:{name}' does"),
        ("{a*}", "the pattern '{a*}' must start with a word, as 'room:{name}' does"),
        ("{a}:b", "the pattern '{a}:b' must start with a word, as 'room:{name}' does"),
        (
            "a:{b*}:c",
            "'{b*}' in the pattern 'a:{b*}:c' takes all that is left: it must be the last segment",
        ),
        ("a:{b}:{b}", "the pattern 'a:{b}:{b}' has two parts of one name: rename one"),
        ("a:{b}:{b*}", "the pattern 'a:{b}:{b*}' has two parts of one name: rename one"),
        *(
            (
                f"a:{{{name}}}",
                f"the part {name!r} of the pattern 'a:{{{name}}}' is reserved: choose another",
            )
            for name in ("ctx", "data", "key", "payload", "self", "source", "class", "None")
        ),
        (
            f"a:{'b' * 252}:{{c}}",
            f"the pattern 'a:{'b' * 38}'... is too long: a topic's name has at most 255 characters",
        ),
    ],
)
def test_a_wrong_pattern_is_refused_in_words(text: Any, words: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        Pattern(text)
    assert str(caught.value) == words


def test_a_pattern_may_be_as_long_as_a_name() -> None:
    text = f"a:{'b' * 251}:{{c}}"
    assert Pattern(text).match(f"a:{'b' * 251}:x") == {"c": "x"}
