"""A pointer leads to its value whatever the keys are (RFC 6901)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.wire.pointer import keys_along, pointer_to


@pytest.mark.parametrize(
    ("keys", "pointer"),
    [
        ((), ""),
        (("foo",), "/foo"),
        (("foo", 0), "/foo/0"),
        (("",), "/"),
        (("a/b",), "/a~1b"),
        (("m~n",), "/m~0n"),
        (("~1",), "/~01"),
        (("~", "/"), "/~0/~1"),
        (('k"l', " ", "i\\j"), '/k"l/ /i\\j'),
    ],
)
def test_the_pointer_to_a_key_is_that_of_the_rfc(keys: tuple[object, ...], pointer: str) -> None:
    assert pointer_to(*keys) == pointer
    assert keys_along(pointer) == [str(key) for key in keys]


@given(st.lists(st.text()))
def test_a_pointer_leads_along_the_keys_it_was_made_of(keys: list[str]) -> None:
    assert keys_along(pointer_to(*keys)) == keys


@given(st.lists(st.text()), st.lists(st.text()))
def test_pointers_are_joined_as_the_keys_are(outer: list[str], inner: list[str]) -> None:
    assert pointer_to(*outer) + pointer_to(*inner) == pointer_to(*outer, *inner)
