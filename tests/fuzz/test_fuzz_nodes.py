"""A short run of `python -m tests.fuzz`: whatever is sent to two nodes, they stay right."""

import pytest

from tests.fuzz.client import Tally
from tests.fuzz.run import Fuzz, Plan

#: Seconds: some thousand messages.
SHORT = 4


@pytest.mark.timeout(120)
async def test_messages_at_random_are_answered_once_and_leave_no_trace_in_the_log() -> None:
    report = await Fuzz(Plan(SHORT, seed=7, clients=4), print).run()
    assert report.wrong == [], report.tally.led
    assert report.tally.sent["whole"] > 100
    assert report.tally.sent["damaged"] > 10
    assert {"reply", "invalid_payload", "invalid_json"} <= set(report.tally.answers)


def test_what_led_to_a_fault_is_kept_for_the_first_of_its_kind() -> None:
    tally = Tally()
    tally.blame("it broke", [b"a", b"b"])
    tally.blame("it broke", [b"c"])
    assert tally.wrong["it broke"] == 2
    assert tally.led == {"it broke": [b"a", b"b"]}
