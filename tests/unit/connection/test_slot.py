"""A slot is a key of its own, with a name to read."""

from jackfield.connection.slot import Slot


def test_it_says_its_name() -> None:
    assert repr(Slot("topics", list)) == "Slot('topics')"


def test_two_of_one_name_are_two_keys() -> None:
    assert len({Slot("topics", list), Slot("topics", list)}) == 2


def test_it_makes_a_value_of_its_own_for_each() -> None:
    slot = Slot("topics", list[int])
    assert slot.make() is not slot.make()
