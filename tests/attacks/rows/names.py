"""Users with the scope ``agent`` try to be the honest agent, and to have ever more large agents."""

import contextlib
from collections.abc import Iterable

from jackfield.client import ConnectionClosed, ConnectionFailed
from tests.attacks.siege import NAMES, Siege

GROUP = "shares"

#: So many that the agents of all are together larger than a reply.
_THIEVES = 3

#: Bytes of a skill's words; so many of them make a registration as large as one may be.
_WORDS = {"description": "x" * 1900}
_SKILLS = [{"id": f"s{n}", **_WORDS} for n in range(25)]


async def attack(siege: Siege) -> None:
    number = 0
    while True:
        number += 1
        with contextlib.suppress(ConnectionClosed, ConnectionFailed):
            async with siege.connect(f"thief{number % _THIEVES}", "agent") as client:
                stolen = {"name": "echo", "skills": [{"id": "say"}], "capacity": 1000}
                await siege.hammer("names-taken", client, "agent.register", stolen)
                more = {"name": f"thiefs-{number}", "skills": _SKILLS, "capacity": 1000}
                await siege.hammer("names", client, "agent.register", more)


def verdict(siege: Siege) -> Iterable[str]:
    taken, names = siege.answers["names-taken"], siege.answers["names"]
    if taken.accepted or set(taken.refused) != {("forbidden", None)}:
        yield f"the honest agent's name was had {taken.accepted} times: {taken.refused}"
    if names.accepted > NAMES * _THIEVES:
        yield f"{names.accepted} names were taken, and not at most {NAMES * _THIEVES}"
    if not names.refused["rate_limited", NAMES]:
        yield f"nobody was refused by per_user: {names.refused}"
