"""One user without scopes calls an agent with large inputs and cancels, over and over."""

from collections.abc import Iterable

from tests.attacks.siege import KEPT, Siege

GROUP = "shares"

_INPUT = {"text": "x" * 60_000}


async def attack(siege: Siege) -> None:
    async with siege.attacker("caller") as client:
        call = {"agent": "echo", "input": _INPUT, "detach": True, "timeout": 86_400}
        while True:
            reply = await siege.hammer("tasks", client, "agent.call", call)
            if reply is not None:
                await siege.hammer("tasks-ended", client, "agent.cancel", {"task": reply["task"]})


def verdict(siege: Siege) -> Iterable[str]:
    answers = siege.answers["tasks"]
    most = KEPT * 1.1 / 120_000
    if answers.accepted > most:
        yield f"{answers.accepted} calls were taken, and not at most {most:.0f}"
    if not answers.refused["rate_limited", KEPT]:
        yield f"nobody was refused by kept_bytes: {answers.refused}"
