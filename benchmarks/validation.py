"""Validation: how long a compiled schema takes for a payload, and how long marshmallow does.

Run as ``python -m benchmarks.validation``. A ratio is taken within a round, and what is told is the
median of the rounds: machines differ, and one machine differs from minute to minute.
"""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import process_time
from timeit import Timer
from typing import Any, Final

import click
from marshmallow import Schema, ValidationError, fields, validate
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from jackfield.schema.compiled import compile_schema

from .message import PAYLOAD, Message

#: At least so many times as fast, on the message that the other benchmarks send as well.
WANTED_RATIO: Final = 10
#: At most so many milliseconds to compile a schema: a server with 200 types is up in a second.
WANTED_COMPILE: Final = 5
#: Seconds of CPU that each half of a round takes: enough for thousands of payloads.
_ROUND: Final = 0.05


class Point(Schema):
    """What a list is full of."""

    x = fields.Float(required=True)
    y = fields.Float(required=True)
    label = fields.String(load_default="")


class Drawing(Schema):
    """A payload with a list of objects."""

    points = fields.List(fields.Nested(Point), required=True, validate=validate.Length(max=1000))


class Order(Schema):
    """A payload of many kinds, some of which take longer than all the rest."""

    id = fields.UUID(required=True)
    email = fields.Email(required=True)
    placed = fields.AwareDateTime(required=True)
    price = fields.Decimal(places=2, required=True)
    quantity = fields.Integer(strict=True, validate=validate.Range(1, 100))
    state = fields.String(validate=validate.OneOf(["new", "paid", "sent"]))
    notes = fields.Dict(fields.String(), fields.String(), load_default=dict)
    gift = fields.Boolean(load_default=False)


_POINTS: Final = {"points": [{"x": 1.5, "y": number} for number in range(100)]}
_ORDER: Final = {
    "id": "7f3f9d5c-4d0e-4c0b-9d5a-0b8f3c1f2a6e",
    "email": "someone@example.org",
    "placed": "2024-12-24T12:30:00+01:00",
    "price": "19.90",
    "quantity": 3,
    "state": "paid",
    "notes": {"door": "blue"},
}


@dataclass(frozen=True)
class Case:
    """A schema and a payload for it.

    Attributes:
        name: What it is called in the table.
        schema: The schema's class.
        payload: What it loads.
        ratio: What the ratio should be at least, where that is promised.
    """

    name: str
    schema: type[Schema]
    payload: dict[str, Any]
    ratio: float | None = None


CASES: Final = [
    Case("four fields", Message, PAYLOAD, WANTED_RATIO),
    Case("four fields, two left out", Message, {"room": "lobby", "text": "hello"}, WANTED_RATIO),
    Case("four fields, one wrong", Message, {**PAYLOAD, "room": ""}),
    Case("a list of 100 objects", Drawing, _POINTS),
    Case("eight kinds of field", Order, _ORDER),
]


@dataclass(frozen=True)
class Measurement:
    """What was measured of a case.

    Attributes:
        plain: Microseconds that `schema.load` takes.
        compiled: Microseconds that the compiled function takes.
        ratio: How many times as fast it is.
        compile: Milliseconds that compiling takes.
    """

    plain: float
    compiled: float
    ratio: float
    compile: float


def measure(case: Case, rounds: int) -> Measurement:
    """Measure a case; every figure is the median of the rounds."""
    schema = case.schema()
    compilation = compile_schema(schema)
    if compilation.load is None:
        raise click.ClickException(f"{case.name} is not compiled: {compilation.reason}")
    plain = _timer(schema.load, case.payload)
    compiled = _timer(compilation.load, case.payload)
    pairs = [(_seconds(plain), _seconds(compiled)) for _ in range(rounds)]
    compiling = Timer(lambda: compile_schema(case.schema()), timer=process_time)
    return Measurement(
        plain=median(plain for plain, _ in pairs) * 1e6,
        compiled=median(compiled for _, compiled in pairs) * 1e6,
        ratio=median(plain / compiled for plain, compiled in pairs),
        compile=median(compiling.repeat(rounds, 5)) / 5 * 1e3,
    )


def _timer(load: Callable[[dict[str, Any]], Any], payload: dict[str, Any]) -> Timer:
    call = partial(load, payload)
    try:
        call()
    except ValidationError:
        call = partial(_refused, load, payload)
    return Timer(call, timer=process_time)


def _refused(load: Callable[[dict[str, Any]], Any], payload: dict[str, Any]) -> None:
    with contextlib.suppress(ValidationError):
        load(payload)


def _seconds(timer: Timer) -> float:
    """Seconds of CPU for one payload, measured for long enough."""
    number = max(1, int(_ROUND / timer.timeit(10) * 10))
    return timer.timeit(number) / number


def print_table(console: Console, measurements: dict[str, tuple[Case, Measurement]]) -> bool:
    """Print what was measured; whether all of it is as it should be."""
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("marshmallow\nµs", "compiled\nµs", "ratio", "at\nleast", "compile\nms"):
        table.add_column(heading, justify="right", no_wrap=True)
    met = True
    for name, (case, measured) in measurements.items():
        ratio_met = case.ratio is None or measured.ratio >= case.ratio
        compile_met = measured.compile < WANTED_COMPILE
        met = met and ratio_met and compile_met
        table.add_row(
            name,
            f"{measured.plain:.2f}",
            f"{measured.compiled:.2f}",
            f"[{'green' if ratio_met else 'red'}]{measured.ratio:.1f}",
            "" if case.ratio is None else f"{case.ratio:g}",
            f"[{'green' if compile_met else 'red'}]{measured.compile:.2f}",
        )
    console.print(table)
    return met


@click.command()
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=25,
    show_default=True,
    help="How often each is measured; what is told are medians.",
)
def main(*, rounds: int) -> None:
    """Measure compiled schemas against marshmallow's own load.

    Exit code 1: one is not as fast as it should be.
    """
    progress = Console(stderr=True)
    cases = track(CASES, "Measuring", console=progress, transient=True)
    measurements = {case.name: (case, measure(case, rounds)) for case in cases}
    if not print_table(Console(highlight=False), measurements):
        sys.exit(1)


if __name__ == "__main__":
    main()
