"""The directory knows agents well enough to call them, and asks Redis no more than it must."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from jackfield.agents import directory as module
from jackfield.agents.directory import Directory
from jackfield.store.agents import AgentState, InstanceLoad
from jackfield.wire.errors import Error


class Store:
    """What Redis has of agents."""

    def __init__(self) -> None:
        self.states: dict[str, AgentState] = {}
        self.reads = 0
        self.is_away = False

    def add(
        self,
        name: str,
        *skills: Mapping[str, Any],
        loads: Sequence[tuple[int, int]] = ((0, 1),),
        waiting: int = 0,
    ) -> None:
        ids = frozenset(skill["id"] for skill in skills)
        definitions = {
            skill["id"]: (str(hash(text)), text)
            for skill in skills
            for text in (msgspec.json.encode(skill),)
        }
        instances = [InstanceLoad(capacity, running, ids) for running, capacity in loads]
        self.states[name] = AgentState(waiting, definitions, instances)

    async def agents(self) -> list[str]:
        await asyncio.sleep(0)
        if self.is_away:
            raise Error("unavailable")
        self.reads += 1
        return list(self.states)

    async def read(self, agents: Sequence[str]) -> list[AgentState]:
        await asyncio.sleep(0)
        return [self.states[name] for name in agents]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def directory(store: Store) -> Directory:
    return Directory(store)  # type: ignore[arg-type]


SAY = {"id": "say"}
SING = {"id": "sing", "idempotent": True}


async def refused(directory: Directory, agent: str | None, skill: str | None) -> Error:
    with pytest.raises(Error) as error:
        await directory.find(agent, skill)
    return error.value


async def test_a_skill_is_found_by_agent_by_id_or_by_both(
    store: Store, directory: Directory
) -> None:
    store.add("one", SAY)
    store.add("two", SING)
    for agent, skill in (("one", None), (None, "say"), ("one", "say")):
        known = await directory.find(agent, skill)
        assert (known.agent, known.id, known.idempotent) == ("one", "say", False)
    assert (await directory.find("two", None)).idempotent


async def test_what_is_not_there_is_not_found(store: Store, directory: Directory) -> None:
    store.add("one", SAY)
    for agent, skill in (("two", None), ("one", "sing"), (None, "sing"), (None, None)):
        assert (await refused(directory, agent, skill)).code == "not_found"


async def test_of_several_skills_one_must_be_named(store: Store, directory: Directory) -> None:
    store.add("one", SING, SAY)
    error = await refused(directory, "one", None)
    assert error.code == "invalid_payload"
    (fault,) = error.extra["fields"]
    assert fault == {"pointer": "/skill", "code": "required", "message": "One of: say, sing."}


async def test_the_least_busy_agent_of_a_skill_is_chosen(
    store: Store, directory: Directory
) -> None:
    store.add("away", SAY, loads=[])
    store.add("busy", SAY, loads=[(1, 1), (1, 2)])
    assert (await directory.find(None, "say")).agent == "busy"  # rather than one that is not there
    store.add("calm", SAY, loads=[(1, 2)])
    directory.invalidate()
    assert (await directory.find(None, "say")).agent == "calm"
    store.add("calm", SAY, loads=[(1, 2)], waiting=5)
    directory.invalidate()
    assert (await directory.find(None, "say")).agent == "busy"


async def test_calls_of_what_is_known_ask_nobody(store: Store, directory: Directory) -> None:
    store.add("one", SAY)
    for _ in range(10):
        await directory.find("one", "say")
    assert store.reads == 1


async def test_many_who_look_at_once_look_once(store: Store, directory: Directory) -> None:
    store.add("one", SAY)
    await asyncio.gather(*(directory.find("one", "say") for _ in range(10)))
    assert store.reads == 1


async def test_names_that_nobody_has_cost_nothing(
    store: Store, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MISS_AGE", 60)
    for number in range(10):
        await refused(directory, f"nobody-{number}", None)
    assert store.reads == 1


async def test_an_agent_that_has_just_come_is_found(
    store: Store, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MISS_AGE", 0)
    await refused(directory, "one", None)
    store.add("one", SAY)
    assert (await directory.find("one", None)).id == "say"


async def test_a_skill_that_is_another_by_now_is_compiled_anew(
    store: Store, directory: Directory
) -> None:
    store.add("one", {**SAY, "input": {"type": "object"}})
    first = await directory.find("one", "say")
    directory.invalidate()
    assert (await directory.find("one", "say")) is first
    store.add("one", SAY)
    directory.invalidate()
    second = await directory.find("one", "say")
    assert (first.checker is None, second.checker is None) == (False, True)
    assert first.digest != second.digest


async def test_only_so_many_skills_are_remembered(
    store: Store, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_SKILLS", 3)
    store.add("one", *({"id": f"s{number}"} for number in range(10)))
    for number in range(10):
        assert (await directory.find("one", f"s{number}")).id == f"s{number}"
        assert len(directory._skills) <= 3


async def test_without_redis_what_is_known_is_known_for_a_while(
    store: Store, directory: Directory
) -> None:
    store.add("one", SAY)
    await directory.find("one", "say")
    store.is_away = True
    assert (await directory.find("one", "say")).id == "say"
    directory.invalidate()
    assert (await refused(directory, "one", "say")).code == "unavailable"
