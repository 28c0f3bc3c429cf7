"""The list of agents comes in pages, and each fits into a reply."""

from typing import Any

import msgspec
import pytest

from jackfield.agents.listing import page_of
from jackfield.store.agents import AgentState, InstanceLoad
from jackfield.wire.protocol import JSON, MSGPACK, Codec


def agent(*skills: str, words: str = "") -> AgentState:
    """An agent with an instance."""
    definitions = {
        skill: ("", msgspec.json.encode({"id": skill, "description": words})) for skill in skills
    }
    return AgentState(0, definitions, [InstanceLoad(1, 0, frozenset(skills))])


def pages(
    agents: dict[str, AgentState],
    *,
    codec: Codec = JSON,
    skill: str | None = None,
    limit: int = 1000,
    reply_bytes: int = 10_000,
) -> list[list[dict[str, Any]]]:
    """All pages, one behind another."""
    found: list[list[dict[str, Any]]] = []
    after: str | None = None
    while True:
        page = page_of(
            agents, codec, skill=skill, after=after, limit=limit, reply_bytes=reply_bytes
        )
        assert len(codec.reply(2**53 - 1, page)) <= reply_bytes
        found.append(page["agents"])
        after = page.get("next")
        if after is None:
            return found


def names(found: list[list[dict[str, Any]]]) -> list[list[str]]:
    return [[each["name"] for each in page] for page in found]


def test_pages_have_so_many_agents_in_the_order_of_their_names() -> None:
    agents = {name: agent("say") for name in "ecabd"}
    assert names(pages(agents)) == [["a", "b", "c", "d", "e"]]
    assert names(pages(agents, limit=2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert names(pages(agents, limit=5)) == [["a", "b", "c", "d", "e"]]
    assert names(pages({})) == [[]]


def test_pages_have_only_the_agents_with_a_skill() -> None:
    agents = {"a": agent("say"), "b": agent("sing"), "c": agent("say", "sing")}
    assert names(pages(agents, skill="sing", limit=1)) == [["b"], ["c"]]


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
def test_large_skills_make_more_pages_and_never_one_that_is_too_large(codec: Codec) -> None:
    agents = {f"a{n}": agent("s1", "s2", words="x" * 2000) for n in range(9)}
    found = pages(agents, codec=codec)
    assert [name for page in names(found) for name in page] == sorted(agents)
    assert max(map(len, found)) == 2


def test_an_agent_that_fits_no_reply_is_listed_without_what_does_not_fit() -> None:
    agents = {
        "a": agent("say"),
        "b": agent("s1", "s2", words="x" * 9000),
        "c": agent(*(f"{n:064}" for n in range(200))),
        "d": agent("say"),
    }
    listed = {each["name"]: each["skills"] for page in pages(agents) for each in page}
    assert list(listed) == ["a", "b", "c", "d"]
    assert listed["b"] == [{"id": "s1"}, {"id": "s2"}]
    assert listed["c"] == []


def test_an_agent_that_has_gone_is_a_cursor_all_the_same() -> None:
    agents = {"a": agent("say"), "c": agent("say")}
    page = page_of(agents, JSON, skill=None, after="b", limit=9, reply_bytes=10_000)
    assert [each["name"] for each in page["agents"]] == ["c"]
