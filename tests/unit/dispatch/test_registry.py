"""A plugin is in whole or not at all: found, chosen, contained, and refused with the cure."""

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from importlib.metadata import entry_points, version
from typing import Any, cast

import pytest
from marshmallow import Schema

from jackfield import Context, Error, Plugin, Runtime
from jackfield.authoring.services import Services
from jackfield.config import load_settings
from jackfield.declaration.candidates import Candidate, discover
from jackfield.dispatch.plugin_entry import PluginFailures, PluginState, Stage
from jackfield.dispatch.registry import Registry
from jackfield.plugin.hooks import CallNext
from tests.support.candidates import (
    Strict,
    candidate,
    plugin,
    problems,
    registry,
    states,
    with_topics,
)

Order = list[str]


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def resolved(made: Registry, executor: Executor) -> Registry:
    nothing = cast(Services, None)  # nothing is published or called here
    runtimes = {
        entry.name: Runtime(entry.name, "node", entry.config, nothing) for entry in made.loaded
    }
    made.make_routes(load_settings(None, {}, {}), runtimes, executor)
    return made


async def call(made: Registry, message_type: str) -> Any:
    route = made.routes[message_type]
    return await route.call(Context(cast(Any, None), route.runtime), {})


def test_everything_installed_is_found_with_its_distribution() -> None:
    found = {(each.name, each.distribution, each.version) for each in discover()}
    assert {
        ("session", "jackfield", version("jackfield")),
        ("request", "jackfield", version("jackfield")),
    } <= found
    assert len(found) == len(entry_points(group="jackfield.plugins"))


def test_the_built_in_plugins_load_by_the_same_door() -> None:
    made = registry(*(each for each in discover() if each.distribution == "jackfield"))
    assert {entry.name: entry.reason for entry in made.failed} == {}
    assert {"session", "request"} <= {entry.name for entry in made.loaded}


def test_entries_stand_in_the_order_of_their_names() -> None:
    made = registry(*(candidate(plugin(name)) for name in ("poll", "chat", "vote")))
    assert [entry.name for entry in made.entries] == ["chat", "poll", "vote"]


@pytest.mark.parametrize(
    ("enabled", "disabled", "loaded"),
    [
        (["*"], [], ["chat", "chess", "poll"]),
        ([], [], []),
        (["chat"], [], ["chat"]),
        (["ch*"], [], ["chat", "chess"]),
        (["ch?t", "poll"], [], ["chat", "poll"]),
        (["[a-c]*"], ["chess"], ["chat"]),
        (["*"], ["ch*"], ["poll"]),
        (["*"], ["*"], []),
        (["chat"], ["chat"], []),
        (["x*"], ["y*"], []),
        (["CH*"], [], []),
    ],
)
def test_patterns_choose_the_plugins(
    enabled: list[str], disabled: list[str], loaded: list[str]
) -> None:
    all_three = [candidate(plugin(name)) for name in ("chat", "chess", "poll")]
    made = registry(*all_three, enabled=enabled, disabled=disabled)
    assert [entry.name for entry in made.loaded] == loaded
    assert {entry.state for entry in made.entries if entry.name not in loaded} <= {
        PluginState.DISABLED
    }


def test_a_disabled_plugin_is_not_even_imported() -> None:
    made = registry(
        candidate(KeyboardInterrupt(), "chat"), disabled=["chat"], chat={"any": "thing"}
    )
    assert states(made) == {"chat of jackfield-third 1.0": "disabled"}


@pytest.mark.parametrize("key", ["enabled", "disabled"])
def test_the_configuration_may_not_speak_of_a_plugin_that_is_not_there(key: str) -> None:
    both = candidate(plugin("chat")), candidate(plugin("poll"))
    ((where, message),) = problems(*both, **{key: ["chta", "*", "poll"]})
    assert where == f"plugins.{key}"
    assert message == "no plugin 'chta' is installed; did you mean 'chat'?"


def test_nor_may_a_section_and_all_slips_are_told_at_once() -> None:
    told = problems(
        candidate(plugin("chat")), enabled=["one"], disabled=["two"], chatt={}, three={"a": 1}
    )
    assert [problem.message for problem in told] == [
        "no plugin 'chatt' is installed; did you mean 'chat'?",
        "no plugin 'three' is installed; there are: chat",
        "no plugin 'one' is installed; there are: chat",
        "no plugin 'two' is installed; there are: chat",
    ]


def test_where_nothing_is_installed_it_says_so() -> None:
    assert problems(chat={})[0].message == "no plugin 'chat' is installed; there are none"


def test_a_failure_is_fatal_only_where_the_configuration_is_strict() -> None:
    failing = candidate(ImportError("no numpy"), "chat"), candidate({}, "poll")
    registry(*failing).enforce_strictness()
    registry(candidate(plugin("vote")), strict=True).enforce_strictness()
    made = registry(*failing, candidate(plugin("vote")), strict=True)
    with pytest.raises(PluginFailures) as caught:
        made.enforce_strictness()
    assert caught.value.entries == made.failed
    assert str(caught.value).splitlines() == [str(entry) for entry in made.failed]


def test_a_disabled_plugin_is_no_failure() -> None:
    made = registry(candidate({}, "chat"), disabled=["*"], strict=True)
    made.enforce_strictness()
    assert made.failed == []


async def test_every_message_type_of_those_that_run_has_a_route(executor: Executor) -> None:
    made = registry(candidate(plugin("chat", "chat.a", "chat.b")), candidate(plugin("poll")))
    assert made.routes == {}
    resolved(made, executor)
    assert set(made.routes) == {"chat.a", "chat.b", "poll.send"}
    assert made.routes["chat.b"].runtime.plugin == "chat"
    assert await call(made, "poll.send") == {"from": "poll"}


def with_middleware(name: str, order: Order) -> Plugin:
    """A plugin with a middleware of its own and one around everything, that note who runs."""
    made = plugin(name)

    async def own(ctx: Context, data: Any, call_next: CallNext) -> Any:
        order.append(f"{name} own")
        return await call_next(ctx, data)

    async def everywhere(ctx: Context, data: Any, call_next: CallNext) -> Any:
        order.append(f"{name} everywhere")
        return await call_next(ctx, data)

    made.middleware(own)
    made.middleware(everywhere=True)(everywhere)
    return made


async def test_middleware_everywhere_runs_around_everyones_and_outside(executor: Executor) -> None:
    order: Order = []
    made = registry(*(candidate(with_middleware(name, order)) for name in ("poll", "chat")))
    resolved(made, executor)
    assert await call(made, "poll.send") == {"from": "poll"}
    assert order == ["chat everywhere", "poll everywhere", "poll own"]


@pytest.mark.parametrize(
    ("broken", "disabled"),
    [
        (lambda evil: candidate(evil, "good"), []),
        (lambda evil: candidate(evil, distribution="evil"), ["evil"]),
        (lambda evil: candidate(plugin_with(evil, "chat.send")), []),
        (lambda evil: candidate(plugin_with(evil, config=Strict)), []),
    ],
    ids=["name", "disabled", "conflict", "configuration"],
)
async def test_one_that_is_left_out_leaves_nothing_behind(
    executor: Executor, broken: Callable[[Plugin], Candidate], disabled: list[str]
) -> None:
    order: Order = []
    built_in = candidate(plugin("chat"), distribution="jackfield")
    evil = with_middleware("evil", order)
    made = resolved(registry(built_in, broken(evil), disabled=disabled), executor)
    assert set(made.routes) == {"chat.send"}
    assert await call(made, "chat.send") == {"from": "chat"}
    assert order == []
    assert [each.name for _, each in made.plugins()] == ["chat"]


def plugin_with(
    evil: Plugin, message_type: str | None = None, config: type[Schema] | None = None
) -> Plugin:
    """The same plugin with a fault."""
    if message_type is not None:
        evil.handlers[message_type] = evil.handlers["evil.send"]
    if config is not None:
        evil.config_schema = config()
    return evil


async def test_one_that_fails_to_start_leaves_nothing_behind(executor: Executor) -> None:
    order: Order = []
    made = registry(candidate(plugin("chat")), candidate(with_middleware("evil", order)))
    made.entries[1].fail(Stage.START, "it failed to start")
    resolved(made, executor)
    assert set(made.routes) == {"chat.send"}
    assert await call(made, "chat.send") == {"from": "chat"}
    assert order == []


def test_a_topic_is_found_with_the_parts_of_its_name(executor: Executor) -> None:
    chat = with_topics("chat", "room:{name}", "room:{name}:log", "broadcast")
    poll = with_topics("poll", "poll:{id}", "room:{name}:{poll}:{rest*}")
    made = registry(candidate(chat), candidate(poll))
    # Also before all are resolved: lifespans publish.
    assert made.find_family("room:lobby") == (chat.topics[0], {"name": "lobby"})
    resolved(made, executor)
    assert made.find_family("room:lobby") == (chat.topics[0], {"name": "lobby"})
    assert made.find_family("room:lobby:log") == (chat.topics[1], {"name": "lobby"})
    assert made.find_family("broadcast") == (chat.topics[2], {})
    assert made.find_family("poll:7") == (poll.topics[0], {"id": "7"})
    assert made.find_family("room:a:b:c:d") == (
        poll.topics[1],
        {"name": "a", "poll": "b", "rest": "c:d"},
    )
    for topic in ("", ":", "room", "room:", "room:a:b", "rooms:a", "broadcast:a", "room:" * 99):
        assert made.find_family(topic) is None


def test_topics_of_one_that_is_left_out_are_not_found(executor: Executor) -> None:
    made = registry(
        candidate(with_topics("chat", "room:{name}")),
        candidate(with_topics("evil", "evil:{name}")),
        candidate(with_topics("poll", "poll:{id}")),
        candidate(with_topics("vote", "vote:{id}", config=Strict)),
        disabled=["poll"],
    )
    made.entries[1].fail(Stage.START, "it failed to start")
    resolved(made, executor)
    assert made.find_family("room:a") is not None
    for topic in ("evil:a", "poll:a", "vote:a"):
        assert made.find_family(topic) is None


async def test_a_message_type_is_described_with_its_options_and_schemas(
    executor: Executor,
) -> None:
    chat = Plugin("chat")

    @chat.handler("chat.tail", Strict, reply=Strict, scopes=["b", "a"])
    async def tail(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Follow a room."""
        yield {}

    made = resolved(registry(candidate(chat)), executor)
    (described,) = made.describe(frozenset("ab"), "chat.tail")["types"]
    payload = described.pop("payload")
    assert described == {
        "type": "chat.tail",
        "plugin": "chat",
        "doc": "Follow a room.",
        "streams": True,
        "scopes": ["a", "b"],
        "reply": payload,
    }
    assert payload["required"] == ["history"]


async def test_only_what_one_may_use_is_described(executor: Executor) -> None:
    chat = plugin("chat", "chat.open")
    chat.handler("chat.secret", scopes=["admin"])(chat.handlers["chat.open"].function)
    made = resolved(registry(candidate(chat)), executor)

    def described(*scopes: str, message_type: str | None = None) -> list[str]:
        types = made.describe(frozenset(scopes), message_type)["types"]
        return [each["type"] for each in types]

    assert described() == ["chat.open"]
    assert described("admin") == ["chat.open", "chat.secret"]
    assert described("admin", message_type="chat.secret") == ["chat.secret"]
    for message_type in ("chat.secret", "chat.missing", ""):
        with pytest.raises(Error) as caught:
            described(message_type=message_type)
        assert (
            caught.value.as_dict() == Error("not_found", "There is no such message type.").as_dict()
        )
