"""Of two plugins that declare the same, neither runs; each is told of the other and of the cure."""

from pathlib import Path

from jackfield.dispatch.plugin_entry import Stage
from tests.support.candidates import (
    Strict,
    candidate,
    failure,
    plugin,
    registry,
    states,
    with_topics,
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
