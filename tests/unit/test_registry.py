"""A plugin is in whole or not at all: found, chosen, contained, and refused with the cure."""

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, cast

import pytest
from marshmallow import Schema, ValidationError, fields, validates_schema

from jackfield import Context, Error, Plugin, RegistrationError, Runtime
from jackfield.agents.local import Agents
from jackfield.config import ConfigError, PluginSettings, Problem, load_settings
from jackfield.plugin import CallNext
from jackfield.registry import Candidate, PluginFailures, Registry, Stage, State, discover
from jackfield.topics.local import Topics

Order = list[str]


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def plugin(name: str, *message_types: str, **options: Any) -> Plugin:
    made = Plugin(name, **options)
    for message_type in message_types or (f"{name}.send",):

        @made.handler(message_type)
        async def send(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
            return {"from": name}

    return made


def candidate(
    loaded: object, name: str | None = None, distribution: str = "jackfield-third"
) -> Candidate:
    """What an entry point leads to: a plugin, anything else, or an exception to raise."""

    def load() -> object:
        if isinstance(loaded, BaseException):
            raise loaded
        return loaded

    return Candidate(name or cast(Plugin, loaded).name, distribution, "1.0", load)


def settings(**plugins: Any) -> PluginSettings:
    return load_settings(None, {}, {"plugins": plugins}).plugins


def registry(*candidates: Candidate, **plugins: Any) -> Registry:
    return Registry(candidates, settings(**plugins))


def states(made: Registry) -> dict[str, str]:
    return {f"{entry.name} of {entry.source}": str(entry.state) for entry in made.entries}


def failure(made: Registry) -> tuple[Stage | None, str]:
    """Where the only plugin that failed did, and why."""
    (entry,) = made.failed
    assert entry not in made.loaded
    assert str(entry) == f"plugin {entry.name!r} of {entry.source}: {entry.reason}"
    return entry.stage, entry.reason


def problems(*candidates: Candidate, **plugins: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        registry(*candidates, **plugins)
    return caught.value.problems


def resolved(made: Registry, executor: Executor) -> Registry:
    nowhere, nobody = cast(Topics, None), cast(Agents, None)  # nothing is published or called here
    runtimes = {
        entry.name: Runtime(
            entry.name, "node", entry.config, nowhere, nobody, address=cast(Any, None)
        )
        for entry in made.loaded
    }
    made.resolve(load_settings(None, {}, {}), runtimes, executor)
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


def test_a_plugin_runs_with_its_configuration() -> None:
    class Config(Schema):
        history = fields.Integer(load_default=10)
        size = fields.Integer(load_default=1)

    made = registry(candidate(plugin("chat", config=Config)), chat={"history": 5})
    (entry,) = made.loaded
    assert entry.config == {"history": 5, "size": 1}
    assert entry.stage is None
    assert made.failed == []


def test_entries_stand_in_the_order_of_their_names() -> None:
    made = registry(*(candidate(plugin(name)) for name in ("poll", "chat", "vote")))
    assert [entry.name for entry in made.entries] == ["chat", "poll", "vote"]


@pytest.mark.parametrize(
    "fault",
    [ImportError("no numpy"), SyntaxError("bad"), ZeroDivisionError("x"), SystemExit("bye")],
)
def test_one_that_can_not_be_imported_is_left_out(fault: BaseException) -> None:
    made = registry(candidate(fault, "chat"), candidate(plugin("poll")))
    expected = f"it can't be imported: {type(fault).__name__}: {fault}"
    assert failure(made) == (Stage.IMPORT, expected)
    assert [entry.name for entry in made.loaded] == ["poll"]


def test_a_schema_that_nests_one_that_is_not_there_is_refused() -> None:
    class Outer(Schema):
        inner = fields.Nested("NoSuchSchemaAnywhere")

    broken = Plugin("broken")

    @broken.handler("broken.act", Outer)
    async def act(ctx: Context, data: Any) -> None: ...

    stage, reason = failure(registry(candidate(broken)))
    assert stage is Stage.REGISTER
    assert "'broken.act'" in reason
    assert "NoSuchSchemaAnywhere" in reason


def test_an_events_schema_that_nests_one_that_is_not_there_is_refused() -> None:
    class Outer(Schema):
        inner = fields.List(fields.Nested("NoSuchSchemaAnywhere"))

    broken = plugin("broken")
    broken.topic("room:{name}", Outer)
    stage, reason = failure(registry(candidate(broken), candidate(plugin("poll"))))
    assert stage is Stage.REGISTER
    assert reason.startswith("the event of topic 'room:{name}' nests one that can't be had: ")
    assert "NoSuchSchemaAnywhere" in reason


def test_an_interrupt_is_nobodys_fault() -> None:
    with pytest.raises(KeyboardInterrupt):
        registry(candidate(KeyboardInterrupt(), "chat"))


def test_one_declared_wrongly_is_left_out_in_its_own_words() -> None:
    made = registry(candidate(RegistrationError("plugin 'chat': cure it"), "chat"))
    assert failure(made) == (Stage.REGISTER, "plugin 'chat': cure it")
    assert "jackfield-third 1.0" in str(made.failed[0])


@pytest.mark.parametrize(
    ("loaded", "kind"),
    [(Plugin, "type"), ({}, "dict"), (None, "NoneType"), (len, "builtin_function_or_method")],
)
def test_an_entry_point_must_name_a_plugin(loaded: object, kind: str) -> None:
    assert failure(registry(candidate(loaded, "chat"))) == (
        Stage.REGISTER,
        f"its entry point must name a Plugin, not {kind}: write 'chat = module:plugin'",
    )


def test_entry_point_and_plugin_must_have_one_name() -> None:
    assert failure(registry(candidate(plugin("poll"), "chat"))) == (
        Stage.REGISTER,
        "its entry point is named 'chat' and its Plugin 'poll': give both one name",
    )


class Strict(Schema):
    history = fields.Integer(required=True, strict=True)
    size = fields.Integer()


class Crashing(Schema):
    @validates_schema
    def crash(self, _: Any, **__: Any) -> None:
        raise KeyError("oops")


class Refusing(Schema):
    @validates_schema
    def refuse(self, _: Any, **__: Any) -> None:
        raise ValidationError("Not like this.")


def test_one_with_a_wrong_configuration_is_left_out_with_every_problem() -> None:
    made = registry(
        candidate(plugin("chat", config=Strict)), candidate(plugin("poll")), chat={"size": "x"}
    )
    stage, reason = failure(made)
    assert stage is Stage.CONFIGURE
    told = made.failed[0].problems
    assert {problem.message for problem in told} == {
        "plugins.chat.history: Missing data for required field",
        'plugins.chat.size: Not a valid integer; got "x"',
    }
    assert reason == "; ".join(map(str, told))
    assert [entry.name for entry in made.loaded] == ["poll"]


def test_one_that_needs_a_configuration_and_has_none_is_left_out() -> None:
    stage, reason = failure(registry(candidate(plugin("chat", config=Strict))))
    assert stage is Stage.CONFIGURE
    assert "plugins.chat.history: Missing data for required field" in reason


def test_one_that_takes_no_configuration_and_has_some_is_left_out() -> None:
    stage, reason = failure(registry(candidate(plugin("chat")), chat={"history": 5}))
    assert stage is Stage.CONFIGURE
    assert "plugins.chat.history: Unknown key" in reason


def test_a_configuration_refused_by_the_schemas_own_code_is_a_problem() -> None:
    made = registry(candidate(plugin("chat", config=Refusing)))
    assert failure(made)[0] is Stage.CONFIGURE
    assert [problem.message for problem in made.failed[0].problems] == [
        "plugins.chat: Not like this"
    ]


def test_a_configuration_schema_that_crashes_leaves_its_plugin_out() -> None:
    made = registry(candidate(plugin("chat", config=Crashing)))
    assert failure(made) == (
        Stage.CONFIGURE,
        "its configuration failed to load: KeyError: 'oops'",
    )


def test_two_plugins_with_one_message_type_are_both_named_and_both_out() -> None:
    made = registry(
        candidate(plugin("chat", "room.send", "chat.list"), distribution="jackfield-chat"),
        candidate(plugin("talk", "talk.list", "room.send"), distribution="jackfield-talk"),
        candidate(plugin("poll")),
    )
    assert states(made) == {
        "chat of jackfield-chat 1.0": "failed",
        "talk of jackfield-talk 1.0": "failed",
        "poll of jackfield-third 1.0": "loaded",
    }
    conflict = "the message type 'room.send' is also declared by plugin"
    cure = "rename one, or name one plugin under [plugins] disabled"
    assert {entry.name: (entry.stage, entry.reason) for entry in made.failed} == {
        "chat": (
            Stage.REGISTER,
            f"{conflict} 'talk' of jackfield-talk 1.0: {cure}",
        ),
        "talk": (
            Stage.REGISTER,
            f"{conflict} 'chat' of jackfield-chat 1.0: {cure}",
        ),
    }


def test_two_plugins_with_one_page_are_both_named_and_both_out(tmp_path: Path) -> None:
    (tmp_path / "index.html").touch()
    chat, talk = plugin("chat"), plugin("talk")
    for each in (chat, talk):
        each.page("/rooms", tmp_path)
    talk.page("/talk", tmp_path)
    made = registry(candidate(chat), candidate(talk), candidate(plugin("poll")))
    assert [entry.name for entry in made.loaded] == ["poll"]
    assert made.failed[0].stage is Stage.REGISTER
    assert made.failed[0].reason == (
        "the page '/rooms' is also declared by plugin 'talk' of jackfield-third 1.0: "
        "move one, or name one plugin under [plugins] disabled"
    )


def test_of_three_with_one_message_type_each_names_the_others() -> None:
    made = registry(*(candidate(plugin(name, "room.send")) for name in ("chat", "poll", "talk")))
    assert made.loaded == []
    assert (
        "plugin 'chat' of jackfield-third 1.0 and plugin 'talk' of jackfield-third 1.0"
        in made.entries[1].reason
    )


def test_disabling_one_of_two_that_conflict_is_the_cure() -> None:
    both = [candidate(plugin(name, "room.send")) for name in ("chat", "talk")]
    made = registry(*both, disabled=["talk"])
    assert [entry.name for entry in made.loaded] == ["chat"]
    assert made.failed == []


def test_a_built_in_message_type_can_not_be_taken_over() -> None:
    made = registry(
        candidate(plugin("session", "session.ping"), distribution="jackfield"),
        candidate(plugin("evil", "evil.do", "session.ping"), distribution="evil"),
    )
    assert states(made) == {"session of jackfield 1.0": "loaded", "evil of evil 1.0": "failed"}
    assert (
        "'session.ping' is also declared by plugin 'session' of jackfield 1.0" in failure(made)[1]
    )


def test_a_built_in_name_can_not_be_taken_over() -> None:
    made = registry(
        candidate(plugin("session", "session.ping"), distribution="jackfield"),
        candidate(plugin("session", "other.ping"), distribution="evil"),
    )
    assert states(made) == {"session of jackfield 1.0": "loaded", "session of evil 1.0": "failed"}
    assert failure(made)[1] == (
        "the name 'session' is also declared by plugin 'session' of jackfield 1.0: uninstall one"
    )


def test_two_distributions_with_one_name_are_both_out() -> None:
    made = registry(
        candidate(plugin("chat", "chat.a"), distribution="jackfield-chat"),
        candidate(plugin("chat", "chat.b"), distribution="better-chat"),
    )
    conflict = "the name 'chat' is also declared by plugin 'chat' of"
    assert {entry.source: entry.reason for entry in made.failed} == {
        "better-chat 1.0": f"{conflict} jackfield-chat 1.0: uninstall one",
        "jackfield-chat 1.0": f"{conflict} better-chat 1.0: uninstall one",
    }
    assert made.loaded == []


def test_one_that_failed_before_a_conflict_keeps_its_reason() -> None:
    made = registry(
        candidate(ImportError("no numpy"), "chat", "better-chat"),
        candidate(plugin("chat"), distribution="jackfield-chat"),
    )
    assert {entry.source: entry.stage for entry in made.failed} == {
        "better-chat 1.0": Stage.IMPORT,
        "jackfield-chat 1.0": Stage.REGISTER,
    }


def with_topics(name: str, *patterns: str, **options: Any) -> Plugin:
    made = plugin(name, **options)
    for pattern in patterns:
        made.topic(pattern)
    return made


def test_two_plugins_whose_topics_overlap_are_both_named_and_both_out() -> None:
    made = registry(
        candidate(with_topics("chat", "room:{name}", "chat:{a}"), distribution="jackfield-chat"),
        candidate(with_topics("talk", "talk:{a}", "room:lobby"), distribution="jackfield-talk"),
        candidate(with_topics("poll", "room:{name}:poll")),
    )
    assert [entry.name for entry in made.loaded] == ["poll"]
    cure = "rename one, or name one plugin under [plugins] disabled"
    assert {entry.name: (entry.stage, entry.reason) for entry in made.failed} == {
        "chat": (
            Stage.REGISTER,
            "topic 'room:{name}' overlaps 'room:lobby' of plugin 'talk' of jackfield-talk 1.0: "
            + cure,
        ),
        "talk": (
            Stage.REGISTER,
            "topic 'room:lobby' overlaps 'room:{name}' of plugin 'chat' of jackfield-chat 1.0: "
            + cure,
        ),
    }


def test_of_three_whose_topics_overlap_each_names_the_others_it_does() -> None:
    patterns = {"chat": "room:lobby", "poll": "room:{name}", "talk": "room:hall"}
    made = registry(*(candidate(with_topics(*both)) for both in patterns.items()))
    assert made.loaded == []
    assert {entry.name: entry.reason.count("plugin '") for entry in made.entries} == {
        "chat": 1,
        "poll": 2,
        "talk": 1,
    }
    assert (
        "overlaps 'room:lobby' of plugin 'chat' of jackfield-third 1.0 and 'room:hall' of plugin "
        "'talk' of jackfield-third 1.0: rename one"
    ) in made.entries[1].reason


def test_disabling_one_of_two_whose_topics_overlap_is_the_cure() -> None:
    both = [candidate(with_topics(name, "room:{name}")) for name in ("chat", "talk")]
    made = registry(*both, disabled=["talk"])
    assert [entry.name for entry in made.loaded] == ["chat"]
    assert made.failed == []


def test_a_built_in_topic_can_not_be_taken_over() -> None:
    made = registry(
        candidate(with_topics("topic", "user:{id}"), distribution="jackfield"),
        candidate(with_topics("evil", "user:{name*}"), distribution="evil"),
    )
    assert states(made) == {"topic of jackfield 1.0": "loaded", "evil of evil 1.0": "failed"}
    assert "overlaps 'user:{id}' of plugin 'topic' of jackfield 1.0" in failure(made)[1]


def test_topics_of_one_that_failed_stand_in_nobodys_way() -> None:
    made = registry(
        candidate(with_topics("chat", "room:{name}", config=Strict)),
        candidate(with_topics("talk", "room:{name}")),
    )
    assert [entry.name for entry in made.loaded] == ["talk"]


def test_message_types_of_one_that_failed_stand_in_nobodys_way() -> None:
    made = registry(
        candidate(plugin("chat", "room.send", config=Strict)),
        candidate(plugin("talk", "room.send")),
    )
    assert [entry.name for entry in made.loaded] == ["talk"]


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
    assert {entry.state for entry in made.entries if entry.name not in loaded} <= {State.DISABLED}


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
