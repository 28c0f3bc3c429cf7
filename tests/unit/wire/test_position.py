"""A position is its epoch and its offset, and nothing else."""

import msgspec

from jackfield.wire.position import Position


def test_a_position_is_equal_to_one_of_the_same_epoch_and_offset() -> None:
    assert Position("e", 1) == Position(epoch="e", offset=1)
    assert len({Position("e", 1), Position("e", 1), Position("e", 2), Position("f", 1)}) == 3


def test_a_position_is_taken_apart_in_order() -> None:
    epoch, offset = Position("e", 1)
    assert (epoch, offset) == ("e", 1)


def test_a_position_as_json_has_the_keys_of_the_protocol() -> None:
    assert msgspec.json.encode(Position("e", 1)._asdict()) == b'{"epoch":"e","offset":1}'
