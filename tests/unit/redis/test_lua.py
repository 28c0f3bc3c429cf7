"""Templates are put where scripts call them, whatever the arguments are."""

import pytest

from jackfield.redis.lua import filled

TEMPLATES = {
    "pair": "$first:$second",
    "fixed": "always\n'this'",
    "whole": "$first",
    "twice": "$first-$first",
    "object": '{"a":$first}',
}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("return pair(a, t.b)", "return (a .. ':' .. t.b)"),
        ("return pair(a, b)[1]", "return (a .. ':' .. b)[1]"),
        ("call(pair(a, b), c)", "call((a .. ':' .. b), c)"),
        ("object(whole(a))", "('{\"a\":' .. ((a)) .. '}')"),
        ("whole(#a)", "((#a))"),
        ("pair(f(a, 'b),'), {c, d})", "((f(a, 'b),')) .. ':' .. ({c, d}))"),
        ("pair(a == 1 and b or c, d)", "((a == 1 and b or c) .. ':' .. d)"),
        ("pair(\n  a,\n  b)", "(a .. ':' .. b)"),
        ("fixed()", "('always\\n\\'this\\'')"),
        ("twice(a)", "(a .. '-' .. a)"),
        ("pairs(a)", "pairs(a)"),
        ("a.pair_of(b)", "a.pair_of(b)"),
        ("-- pair(a, b) is told\npair(a, b)", "-- pair(a, b) is told\n(a .. ':' .. b)"),
    ],
)
def test_a_call_becomes_the_pieces_joined_with_its_arguments(script: str, expected: str) -> None:
    assert filled(script, TEMPLATES) == expected


def test_what_is_no_template_stays_as_it_is() -> None:
    script = "-- A comment.\nlocal a = 'b' .. c\nreturn redis.call('GET', KEYS[1])\n"
    assert filled(script, TEMPLATES) == script
    assert filled("pair(a, b)", {}) == "pair(a, b)"


@pytest.mark.parametrize("script", ["pair(a)", "pair(a, b, c)", "pair()", "pair(a, b", "whole()"])
def test_a_call_with_holes_left_or_arguments_too_many_is_refused(script: str) -> None:
    with pytest.raises(ValueError, match=r"argument|does not end"):
        filled(script, TEMPLATES)
