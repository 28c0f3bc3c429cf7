"""A real Valkey with a replica, and the Sentinels that replace the one by the other."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from tests.support.valkeys import (
    DOWN_AFTER,
    HOST,
    PATIENCE,
    Valkey,
    follows,
    free_port,
    spelled,
    until,
    working_directory,
)
from tests.support.waiting import wait_until

#: What Sentinels call the master.
SERVICE: Final = "jackfield"


@dataclass(frozen=True)
class ValkeySentinel:
    """A master with a replica, and the Sentinels that watch them.

    Attributes:
        master: The master when it begins.
        replica: Its replica, which a failover makes the master.
        sentinels: The Sentinels.
        url: ``redis+sentinel://…``, with all Sentinels.
    """

    master: Valkey
    replica: Valkey
    sentinels: list[Valkey]
    url: str

    async def current(self) -> Valkey:
        """The master, as a running Sentinel sees it."""
        sentinel = next(each for each in self.sentinels if each.running)
        _, port = await sentinel.ask("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(each for each in (self.master, self.replica) if each.port == int(port))

    async def failed_over(self) -> None:
        """Wait until the replica is the master, and all Sentinels say so.

        Raises:
            TimeoutError: It does not come to be.
        """
        await wait_until(self._has_failed_over, PATIENCE)

    async def _has_failed_over(self) -> bool:
        assert self.replica.port is not None
        for sentinel in self.sentinels:
            if sentinel.running:
                _, port = await sentinel.ask("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)
                if int(port) != self.replica.port:
                    return False
        role, *_ = await self.replica.ask("ROLE")
        return bool(role == b"master")


@asynccontextmanager
async def valkey_sentinel(**options: object) -> AsyncIterator[ValkeySentinel]:
    """Run a master, its replica and three Sentinels on the loopback interface.

    Args:
        **options: More of ``valkey.conf`` for master and replica, with underscores for dashes.
    """
    async with AsyncExitStack() as stack:
        shared = {"repl-diskless-sync-delay": 0, **spelled(options)}
        master = Valkey(stack.enter_context(working_directory()), free_port(), shared)
        stack.callback(master.end)
        await master.start()
        follow = {**shared, "replicaof": f"{HOST} {master.port}"}
        replica = Valkey(stack.enter_context(working_directory()), free_port(), follow)
        stack.callback(replica.end)
        await replica.start()
        await until(follows, replica)
        sentinels = []
        for _ in range(3):
            directory = stack.enter_context(working_directory())
            # Sentinel writes what it learns into the file it is given.
            path = directory / "sentinel.conf"
            lines = [
                f"sentinel monitor {SERVICE} {HOST} {master.port} 2",
                f"sentinel down-after-milliseconds {SERVICE} {round(DOWN_AFTER * 1000)}",
                # Milliseconds until a failover that was not agreed on is tried again, halved.
                f"sentinel failover-timeout {SERVICE} 4000",
            ]
            password = shared.get("requirepass")
            if password is not None:
                lines.append(f"sentinel auth-pass {SERVICE} {password}")
            path.write_text("\n".join(lines), "ascii")
            sentinel = Valkey(directory, free_port(), arguments=[str(path), "--sentinel"])
            stack.callback(sentinel.end)
            await sentinel.start()
            # Milliseconds between its looks at the others, which are seconds otherwise.
            for period in ("info-period", "publish-period", "ask-period"):
                await sentinel.ask("SENTINEL DEBUG", period, 200)
            sentinels.append(sentinel)
        for sentinel in sentinels:
            await until(_sees_everyone, sentinel)
        addresses = ",".join(sentinel.address for sentinel in sentinels)
        yield ValkeySentinel(master, replica, sentinels, f"redis+sentinel://{addresses}/{SERVICE}")


async def _sees_everyone(sentinel: Valkey) -> bool:
    seen = await sentinel.ask("SENTINEL MASTER", SERVICE)
    return bool(seen["num-other-sentinels"] == 2 and seen["num-slaves"] == 1)
