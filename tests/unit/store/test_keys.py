"""Keys: those of one slot share a hash tag, no two things share a key, and the layout is told."""

import re

import pytest

from jackfield.store import keys as module
from jackfield.store.keys import TEMPLATES, Keys


def hash_tag(key: str) -> str:
    return key[key.index("{") : key.index("}") + 1]


def test_the_tables_at_the_top_list_the_keys_of_topics_and_agents_and_no_others() -> None:
    rows = re.findall(r"^\| ``\.\.\.(:\S+)``", module.__doc__ or "", re.MULTILINE)
    shared = {
        re.sub(r"\$(\w+)", r"<\1>", template.partition(":")[2]).replace("<task>", "<id>")
        for template in TEMPLATES.values()
    }
    of_topics = {key.rpartition(":")[2] for key in Keys("p", "n").topic("room:a")[1:]}
    made = (shared | of_topics | {"once:<key>", "t:<id>:meta"}) - {"t:<id>"}
    assert {row[1:] for row in rows} == made


def test_all_keys_of_a_topic_are_of_one_slot() -> None:
    topic = Keys("p", "n").topic("room:a")
    assert {hash_tag(key) for key in (*topic, topic.once("k"))} == {"{t:room:a}"}


def test_a_task_and_its_topic_are_of_the_slot_of_its_agent() -> None:
    keys = Keys("p", "n")
    topic = keys.topic("task:echo.abc")
    made = [*topic, keys.task("echo", "echo.abc"), keys.agent_channel("echo"), keys.agent("echo")]
    assert {hash_tag(key) for key in made} == {"{a:echo}"}
    assert topic.meta == "p:{a:echo}:t:echo.abc:meta"
    assert keys.task("echo", "echo.abc") == "p:{a:echo}:task:echo.abc"
    assert Keys("ü", "n").agent_of(Keys("ü", "n").agent_channel("echo").encode()) == "echo"


@pytest.mark.parametrize("topic", ["task:Echo.abc", "task:echo", "task:echo.a:b", "task:}{.x"])
def test_a_topic_that_can_be_no_tasks_has_a_slot_of_its_own(topic: str) -> None:
    assert hash_tag(Keys("p", "n").topic(topic).meta).startswith("{t:task:")


def test_no_two_users_or_topics_share_a_key() -> None:
    keys = Keys("p", "n")
    names = ["a", "a}", "a%7D", "{a", "a:b", "a/b", "ä", ""]
    assert len({keys.user_connections(name) for name in names}) == len(names)
    assert len({keys.topic(name).meta for name in names}) == len(names)
    assert len({keys.topic("t").once(name) for name in names}) == len(names)


@pytest.mark.parametrize("node", ["", "a:b", "u:alice", "{a}", "a/b", "a\n", "a b", "ä"])
def test_a_node_that_would_split_its_keys_is_refused(node: str) -> None:
    with pytest.raises(ValueError, match="node id"):
        Keys("test", node)


@pytest.mark.parametrize("prefix", ["{a}", "a{", "a}"])
def test_a_prefix_that_would_change_the_hash_tags_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="brace"):
        Keys(prefix, "node")
