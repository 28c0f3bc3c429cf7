"""The judge of tasks that the tests of faults trust finds what must not happen."""

import pytest

from tests.support.verdicts import Message, Verdict, judge

SUBMITTED: Message = {"kind": "task", "state": "submitted", "task": {}}
COMPLETED: Message = {"kind": "state", "state": "completed", "attempt": 1, "output": {}}
FAILED: Message = {"kind": "state", "state": "failed", "attempt": 1, "error": {"code": "timeout"}}


def working(attempt: int) -> Message:
    return {"kind": "state", "state": "working", "attempt": attempt}


def asking(attempt: int) -> Message:
    return {"kind": "state", "state": "input_required", "attempt": attempt, "prompt": {}}


def chunks(seq: int, *numbers: int) -> Message:
    return {"kind": "chunks", "seq": seq, "chunks": [{"number": number} for number in numbers]}


def test_a_task_done_at_the_second_attempt_is_told_as_one() -> None:
    story = [SUBMITTED, working(1), chunks(0, 0, 1), working(2), asking(2), working(2)]
    found = judge([*story, chunks(2, 2), COMPLETED | {"attempt": 2}])
    numbers = [{"number": number} for number in range(3)]
    assert found == Verdict("completed", 2, numbers, {}, None)


def test_a_task_that_nobody_took_has_no_attempt() -> None:
    found = judge([SUBMITTED, FAILED | {"attempt": 0}])
    assert found == Verdict("failed", 0, [], None, {"code": "timeout"})
    assert found.code == "timeout"


@pytest.mark.parametrize(
    "story",
    [
        [working(1), COMPLETED],
        [SUBMITTED, working(1)],
        [SUBMITTED, COMPLETED | {"attempt": 0}, FAILED | {"attempt": 0}],
        [SUBMITTED, working(1), COMPLETED, COMPLETED],
        [SUBMITTED, working(1), COMPLETED, working(2), COMPLETED | {"attempt": 2}],
        [SUBMITTED, working(1), COMPLETED, chunks(0, 0)],
        [SUBMITTED, working(1), working(1), COMPLETED],
        [SUBMITTED, working(2), COMPLETED | {"attempt": 2}],
        [SUBMITTED, working(1), working(2), COMPLETED],
        [SUBMITTED, chunks(0, 0), working(1), COMPLETED],
        [SUBMITTED, asking(0), working(1), COMPLETED],
        [SUBMITTED, working(1), chunks(0, 0), chunks(0, 0), COMPLETED],
        [SUBMITTED, working(1), chunks(0, 0), chunks(2, 2), COMPLETED],
        [SUBMITTED, working(1), chunks(0, 0), working(2), chunks(0, 0), COMPLETED],
        [SUBMITTED, working(1), COMPLETED | {"error": {}}],
        [SUBMITTED, working(1), FAILED | {"output": {}}],
    ],
    ids=[
        "not begun",
        "not ended",
        "two ends",
        "ended twice",
        "begun again",
        "chunks behind the end",
        "an attempt twice",
        "an attempt left out",
        "the end of an earlier attempt",
        "chunks of nobody",
        "asked by nobody",
        "a chunk twice",
        "a chunk left out",
        "chunks anew",
        "an error and an output",
        "an output and an error",
    ],
)
def test_what_must_not_happen_to_a_task_is_found(story: list[Message]) -> None:
    with pytest.raises(AssertionError):
        judge(story)
