"""Hooks run for each plugin in order; one may refuse, and none harms another by failing."""

import asyncio
from collections.abc import Callable

import pytest

from jackfield import Context, Error, Plugin
from jackfield.session.connection_hooks import ConnectionHooks
from tests.support.candidates import candidate, registry
from tests.support.connected import Connected
from tests.support.routing import runtime


class Hooked:
    """Plugins with a hook each, which keep the order in which they run."""

    def __init__(self, *names: str, timeout: float = 3600.0) -> None:
        self.ran: list[str] = []
        self.raises: dict[str, BaseException] = {}
        self.registry = registry(*(candidate(self.plugin(name)) for name in names))
        runtimes = {name: runtime(name) for name in names}
        self.hooks = ConnectionHooks(self.registry, runtimes, timeout=timeout)

    def plugin(self, name: str) -> Plugin:
        made = Plugin(name)

        async def run(ctx: Context) -> None:
            self.ran.append(f"{name} {ctx.connection} {ctx.type}")
            if name in self.raises:
                raise self.raises[name]

        made.on_connect(run)
        made.on_disconnect(run)
        return made


async def test_they_run_in_the_order_of_the_plugins_with_their_contexts() -> None:
    hooked = Hooked("poll", "chat")
    connection = Connected().connection
    await hooked.hooks.connected(connection)
    assert hooked.ran == ["chat c1 None", "poll c1 None"]
    await hooked.hooks.disconnected(connection)
    assert hooked.ran[2:] == hooked.ran[:2]


async def test_an_error_refuses_the_connection_and_ends_the_hooks() -> None:
    hooked = Hooked("chat", "poll")
    hooked.raises["chat"] = Error("chat.banned", "You are banned.")
    with pytest.raises(Error) as refused:
        await hooked.hooks.connected(Connected().connection)
    assert refused.value.code == "chat.banned"
    assert hooked.ran == ["chat c1 None"]


@pytest.mark.parametrize("fault", [ValueError("broken"), SystemExit("broken")])
async def test_a_fault_is_logged_and_refuses_nobody(
    logged: Callable[[], str], fault: BaseException
) -> None:
    hooked = Hooked("chat", "poll")
    hooked.raises["chat"] = fault
    await hooked.hooks.connected(Connected().connection)
    assert hooked.ran == ["chat c1 None", "poll c1 None"]
    assert '"plugin": "chat"' in logged()
    assert '"connection": "c1"' in logged()


async def test_at_the_end_an_error_is_a_fault_as_well(logged: Callable[[], str]) -> None:
    hooked = Hooked("chat", "poll")
    hooked.raises["chat"] = Error("conflict")
    await hooked.hooks.disconnected(Connected().connection)
    assert hooked.ran == ["chat c1 None", "poll c1 None"]
    assert "incident" in logged()


async def test_one_that_takes_too_long_is_cancelled(logged: Callable[[], str]) -> None:
    chat = Plugin("chat")
    ended: list[str] = []

    @chat.on_connect
    async def wait(ctx: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    hooks = ConnectionHooks(registry(candidate(chat)), {"chat": runtime("chat")}, timeout=0)
    await hooks.connected(Connected().connection)
    assert ended == ["ended"]
    assert "TimeoutError" in logged()


async def test_a_plugin_that_fails_to_start_has_none() -> None:
    hooked = Hooked("chat", "poll")
    del hooked.registry.entries[0]
    await hooked.hooks.connected(Connected().connection)
    assert hooked.ran == ["poll c1 None"]
