"""One plugin is loaded as a whole, or left out with the reason; whatever it does is contained."""

from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, validates_schema

from jackfield import Context, Plugin, RegistrationError
from jackfield.config import Section
from jackfield.dispatch.plugin_entry import PluginEntry, PluginState, Stage
from jackfield.dispatch.plugin_loading import load_plugin
from tests.support.candidates import Strict, candidate, failure, plugin, registry


def test_a_plugin_runs_with_its_configuration() -> None:
    class Config(Schema):
        history = fields.Integer(load_default=10)
        size = fields.Integer(load_default=1)

    made = registry(candidate(plugin("chat", config=Config)), chat={"history": 5})
    (entry,) = made.loaded
    assert entry.config == {"history": 5, "size": 1}
    assert entry.stage is None
    assert made.failed == []


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


def test_what_it_becomes_is_noted_in_its_entry() -> None:
    chat = plugin("chat")
    entry = PluginEntry(candidate(chat))
    load_plugin(entry, Section.empty("chat"))
    assert (entry.plugin, entry.is_running, entry.stage, entry.config) == (chat, True, None, {})
    entry = PluginEntry(candidate(ImportError("no numpy"), "chat"))
    load_plugin(entry, Section.empty("chat"))
    assert (entry.plugin, entry.state, entry.stage) == (None, PluginState.FAILED, Stage.IMPORT)


def test_the_first_reason_is_told_and_its_configuration_is_not_loaded() -> None:
    class Outer(Schema):
        inner = fields.Nested("NoSuchSchemaAnywhere")

    broken = Plugin("broken", config=Strict)

    @broken.handler("broken.act", Outer)
    async def act(ctx: Context, data: Any) -> None: ...

    made = registry(candidate(broken))
    assert failure(made)[0] is Stage.REGISTER
    assert made.failed[0].problems == []


def test_a_replys_schema_that_nests_one_that_is_not_there_is_refused() -> None:
    class Outer(Schema):
        inner = fields.Nested("NoSuchSchemaAnywhere")

    broken = Plugin("broken")

    @broken.handler("broken.act", reply=Outer)
    async def act(ctx: Context, data: Any) -> None: ...

    stage, reason = failure(registry(candidate(broken)))
    assert stage is Stage.REGISTER
    assert reason.startswith("a schema of 'broken.act' nests one that can't be had: ")
