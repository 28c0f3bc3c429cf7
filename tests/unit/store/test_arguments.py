"""Values become the arguments of scripts in one way, and replies rows again."""

import pytest

from jackfield.store.arguments import flag, flat, milliseconds, pairs, rows


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, 0), (1.5, 1500), (0.0004, 0), (0.0006, 1), (86_400.001, 86_400_001)],
)
def test_a_time_is_rounded_to_a_millisecond(seconds: float, expected: int) -> None:
    assert milliseconds(seconds) == expected
    assert isinstance(milliseconds(seconds), int)


def test_a_flag_is_what_a_script_compares_with() -> None:
    assert [flag(True), flag(False)] == ["1", ""]


def test_fields_and_values_stand_in_turn() -> None:
    assert pairs({"a": 1, "b": b"x"}) == ["a", 1, "b", b"x"]


def test_rows_come_back_as_they_went() -> None:
    table = [("a", 1), ("b", 2)]
    assert list(rows(list(flat(table)), 2)) == table
    assert list(rows([], 3)) == []


def test_a_reply_with_a_part_of_a_row_is_a_fault() -> None:
    with pytest.raises(ValueError, match="shorter"):
        list(rows([1, 2, 3], 2))
