"""An agent that counts, as a program of its own: tests start it, and kill it when they like."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from jackfield.client import Agent, Task


async def opened(gate: Path) -> None:
    """Wait until a file is there."""
    while not gate.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it, here on disk
        await asyncio.sleep(0.01)


async def count(task: Task, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Count to a number, and wait at each gate until the test has made the file that opens it."""
    for number in range(data["to"]):
        if number in data["gates"]:
            await opened(Path(data["folder"], str(number)))
        yield {"number": number}
    task.output = {"by": os.getpid(), "attempt": task.attempt}


async def serve(url: str, token: str, capacity: int) -> None:
    """Serve until killed, and say when the first registration is done."""
    agent = Agent("counter", url, token, capacity=capacity, backoff=0.05, max_backoff=0.2)
    agent.skill("count", idempotent=True)(count)
    agent.skill("once")(count)
    async with agent.running():
        sys.stdout.write("registered\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def end_with_the_test() -> None:
    """End once the pipe does whose other end the test holds, however the test has ended."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_the_test, daemon=True).start()
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
