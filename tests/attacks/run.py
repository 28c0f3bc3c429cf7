"""One run: all rows against one server, a well-behaved client beside them, and the verdict."""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.attacks.honest import Honest
from tests.attacks.rows import Row
from tests.attacks.siege import MEMORY, Siege, besieged
from tests.support.waiting import wait_until

#: Seconds that the server has, once nobody attacks any more, to be as before: some TTLs.
_HEALING: Final = 40.0
#: Seconds more that attacks have on a slow machine to come to any bound at all.
_SLOW: Final = 60.0
#: Seconds between two looks at what the server says of itself.
_LOOK: Final = 0.25
#: The share of its memory past which Redis is nearly full, as the documentation says; and what may
#: come on top until the server has seen it.
_NEARLY: Final = 0.8
_SLACK: Final = 0.15


@dataclass
class Report:
    """How a run went.

    Attributes:
        rounds: How many rounds the well-behaved client was served.
        put_off: How often it was put off as Redis was nearly full.
        most_used: The largest share of Redis's memory that was used.
        answers: What each row was answered with, in words.
        wrong: What must not be, in words; nothing if all is well.
    """

    rounds: int = 0
    put_off: int = 0
    most_used: float = 0.0
    answers: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


async def lay_siege(
    rows: Sequence[Row], seconds: float, tell: Callable[[str], None] = lambda _: None
) -> Report:
    """Run rows against one server.

    Args:
        rows: The rows.
        seconds: How long they attack.
        tell: Called with what happens, in words.
    """
    report = Report()
    with tempfile.TemporaryDirectory(prefix="jackfield-attack-") as directory:
        async with besieged(Path(directory)) as siege:
            honest = Honest(siege)
            watch = _Watch(siege, report)
            beside = [asyncio.create_task(each) for each in (honest.run(), watch.run())]
            tell(f"{len(rows)} rows attack for {seconds:g} s: {', '.join(r.name for r in rows)}")
            attacks = [asyncio.create_task(_attack(row, siege, report)) for row in rows]
            begin = asyncio.get_running_loop().time()
            await asyncio.sleep(seconds)
            with contextlib.suppress(TimeoutError):  # the verdict of its row says so
                await wait_until(lambda: all(siege.came_to_bounds(r.name) for r in rows), _SLOW)
            await _end(attacks)
            siege.seconds = asyncio.get_running_loop().time() - begin
            tell("nobody attacks any more")
            await _heal(siege, report)
            # It goes on until all is well again, and is served to the end.
            served = honest.rounds
            with contextlib.suppress(TimeoutError):
                await wait_until(lambda: honest.rounds > served + 1)
            await _end(beside)
            if honest.rounds <= served + 1:
                report.wrong.append("the well-behaved client is not served at the end")
            report.rounds, report.put_off = honest.rounds, honest.put_off
            report.wrong += honest.wrong
            if honest.put_off and not watch.was_nearly_full:
                report.wrong.append("it was put off, and /readyz never said why")
            _judge(rows, siege, report)
            await _compare(siege, report)
    return report


class _Watch:
    """Looks at what the server says of itself while it is attacked."""

    def __init__(self, siege: Siege, report: Report) -> None:
        self._siege = siege
        self._report = report
        self.was_nearly_full = False

    async def run(self) -> None:
        while True:
            told = await self._siege.metrics()
            used = told["jackfield_redis_memory_used_bytes"] / MEMORY
            self._report.most_used = max(self._report.most_used, used)
            status, reasons = await self._siege.node.readyz()
            if status != 200 or set(reasons) - {"redis_nearly_full"}:
                self._report.wrong.append(f"/readyz is {status}: {reasons}")
            self.was_nearly_full = self.was_nearly_full or "redis_nearly_full" in reasons
            await asyncio.sleep(_LOOK)


async def _attack(row: Row, siege: Siege, report: Report) -> None:
    try:
        await row.attack(siege)
    except Exception as error:  # noqa: BLE001 - an attack that breaks is no attack
        report.wrong.append(f"{row.name} did not attack: {error!r}"[:300])


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def _heal(siege: Siege, report: Report) -> None:
    async def is_within_bounds() -> bool:
        used = (await siege.metrics())["jackfield_redis_memory_used_bytes"]
        return used < MEMORY * _NEARLY and await siege.node.is_ready()

    try:
        await wait_until(is_within_bounds, _HEALING)
    except TimeoutError:
        report.wrong.append(f"Redis is not within its bounds after {_HEALING:g} s")


def _judge(rows: Sequence[Row], siege: Siege, report: Report) -> None:
    if report.most_used > _NEARLY + _SLACK:
        report.wrong.append(f"{report.most_used:.0%} of Redis's memory was used")
    for row in rows:
        try:
            report.wrong += [f"{row.name}: {words}" for words in row.verdict(siege)]
        except KeyError:
            report.wrong.append(f"{row.name} was never answered")
    for name, answers in siege.answers.items():
        refused = ", ".join(
            f"{count} x {code}" + (f" ({limit})" if limit else "")
            for (code, limit), count in sorted(answers.refused.items(), key=str)
        )
        report.answers.append(f"{name}: {answers.accepted} done, refused {refused or 'nothing'}")


async def _compare(siege: Siege, report: Report) -> None:
    """Hold the metrics to what clients saw; a few answers may have come too late for anybody."""
    told = await siege.metrics()
    counted = sum(
        value for name, value in told.items() if name.startswith("jackfield_kept_refused")
    )
    seen = sum(
        count
        for answers in siege.answers.values()
        for (code, limit), count in answers.refused.items()
        if code == "unavailable" or limit is not None
    )
    if not seen <= counted <= seen + 1000:
        report.wrong.append(f"{seen} refusals were seen, and the metrics tell {counted:.0f}")
    if told["jackfield_redis_writes_refused_total"]:
        report.wrong.append("Redis itself has refused writes")
