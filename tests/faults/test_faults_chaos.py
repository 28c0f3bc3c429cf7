"""A short run of `python -m tests.chaos`: whatever fails, nothing is lost unsaid."""

import random

import pytest

from tests.chaos.run import Chaos, Plan

#: Seconds: most kinds of faults have come by then.
SHORT = 6


@pytest.mark.timeout(120)
@pytest.mark.parametrize("restarts", [False, True])
async def test_chaos_loses_nothing_unsaid(restarts: bool) -> None:  # noqa: FBT001
    plan = Plan(SHORT, random.randrange(10**6), clients=30, restarts=restarts)
    told: list[str] = []
    report = await Chaos(plan, told.append).run()
    assert report.wrong == [], "\n".join([str(plan), *told])
