"""A validator that is written out decides as the validator itself does."""

import math
from typing import Any

import pytest
from marshmallow import ValidationError, validate

from jackfield.schema.compiled.module import Miss, Module, indent
from jackfield.schema.compiled.validators import check_value


class Longer(validate.Length):
    """A subclass may have another way: it is called."""

    def __call__(self, value: Any) -> Any:
        if len(value) == 3:
            raise ValidationError("Not three.")
        return super().__call__(value)


def even(value: int) -> None:
    if value % 2:
        raise ValidationError("Not even.")


VALIDATORS: list[tuple[Any, list[Any], bool]] = [
    (validate.Length(2, 3), ["x", "xx", "xxx", "xxxx"], True),
    (validate.Length(min=2), ["x", "xx"], True),
    (validate.Length(max=2), ["xx", "xxx"], True),
    (validate.Length(equal=2), ["x", "xx"], True),
    (validate.Length(), [""], True),
    (validate.Range(1, 3), [0, 1, 3, 4, math.nan], True),
    (validate.Range(1, 3, min_inclusive=False, max_inclusive=False), [1, 2, 3], True),
    (validate.OneOf([1, 2]), [1, 3], True),
    (validate.NoneOf([1, 2]), [1, 3], True),
    (validate.Equal("a"), ["a", "b"], True),
    (validate.Regexp("a+$"), ["aa", "b", "aab"], True),
    (validate.ContainsOnly([1, 2]), [[], [1, 1], [1, 3]], True),
    (validate.And(validate.Range(1), validate.OneOf([2, 4])), [0, 1, 2], True),
    (validate.Email(), ["a@b.example", "a"], False),
    (Longer(2), ["x", "xx", "xxx"], False),
    (even, [1, 2], False),
]


@pytest.mark.parametrize(
    ("validator", "values", "written"),
    VALIDATORS,
    ids=[repr(validator).partition(" at 0x")[0][:40] for validator, _, _ in VALIDATORS],
)
def test_the_lines_of_a_validator_decide_as_it_does(
    validator: Any,
    values: list[Any],
    written: bool,  # noqa: FBT001
) -> None:
    module = Module()
    lines = ["def run(value):", *indent([*check_value(validator, "value", module), "pass"])]
    exec("\n".join(lines), module.given)
    for value in values:
        try:
            validator(value)
        except ValidationError:
            with pytest.raises((Miss, ValidationError)):
                module.given["run"](value)
        else:
            module.given["run"](value)
    assert (validator in module.given.values()) is not written
