"""One user fills the queue of an agent that works slowly, with calls that would wait for a day."""

from collections.abc import Iterable

from jackfield.client import Agent, Task
from tests.attacks.siege import QUEUE_SHARE, Siege
from tests.support.tokens import token

GROUP = "shares"


async def attack(siege: Siege) -> None:
    agent = Agent("slow", siege.node.url, token(sub="slow-agent", scope="agent"))

    @agent.skill("wait")
    async def wait(task: Task, data: dict[str, object]) -> None:
        await siege.forever.wait()

    async with agent.running(), siege.attacker("hoarder") as client:
        # Another is served beside them: the share is one user's, not all's.
        async with siege.attacker("patient") as patient:
            call = {"agent": "slow", "detach": True, "timeout": 86_400}
            await siege.hammer("queues", client, "agent.call", call)
            while not siege.came_to_bounds("queues"):
                await siege.hammer("queues", client, "agent.call", call)
            await siege.hammer("queues-patient", patient, "agent.call", call)
            while True:
                await siege.hammer("queues", client, "agent.call", call)


def verdict(siege: Siege) -> Iterable[str]:
    answers, patient = siege.answers["queues"], siege.answers["queues-patient"]
    if answers.accepted > QUEUE_SHARE + 1:
        yield f"{answers.accepted} calls were taken, and not at most {QUEUE_SHARE + 1}"
    if not answers.refused["rate_limited", QUEUE_SHARE]:
        yield f"nobody was refused by queue_per_user: {answers.refused}"
    if any(limit is not None for _, limit in patient.refused):
        yield f"another user found no place in the queue: {patient.refused}"
