"""The limits of agents fit each other, and both ends of the protocol keep to them."""

import re
import secrets

import pytest

from jackfield.agents.task import is_task_id
from jackfield.client.agent.agent import Agent
from jackfield.store.keys import Keys
from jackfield.wire.agent_limits import (
    AGENT_NAME,
    INSTANCE_ID,
    MAX_CAPACITY,
    MAX_TASK_LENGTH,
    SKILL_ID,
)
from jackfield.wire.topic_limits import MAX_TOPIC_LENGTH
from jackfield_handlers.agent import Register

LONGEST = "a" + "_" * 63


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("a", True),
        ("summariser-2_b", True),
        (LONGEST, True),
        (LONGEST + "x", False),
        ("", False),
        ("2a", False),
        ("-a", False),
        ("A", False),
        ("a.b", False),
        ("ä", False),
        ("a b", False),
        ("a\n", False),
    ],
)
def test_server_and_sdk_take_the_same_names(name: str, fits: bool) -> None:  # noqa: FBT001
    assert bool(re.fullmatch(AGENT_NAME, name)) is fits
    faults = Register().validate({"name": name, "skills": [{"id": "sum"}]})
    assert ("name" not in faults) is fits
    if fits:
        assert Agent(name, "ws://127.0.0.1/ws").name == name
    else:
        with pytest.raises(ValueError, match="is no name for an agent"):
            Agent(name, "ws://127.0.0.1/ws")


@pytest.mark.parametrize("capacity", [0, 1, MAX_CAPACITY, MAX_CAPACITY + 1])
def test_server_and_sdk_take_the_same_capacity(capacity: int) -> None:
    faults = Register().validate({"name": "a", "skills": [{"id": "b"}], "capacity": capacity})
    if faults:
        with pytest.raises(ValueError, match="tasks at once"):
            Agent("a", "ws://127.0.0.1/ws", capacity=capacity)
    else:
        Agent("a", "ws://127.0.0.1/ws", capacity=capacity)
    assert bool(faults) is (capacity not in range(1, MAX_CAPACITY + 1))


def test_a_skill_may_have_a_dot_and_an_agent_not() -> None:
    assert re.fullmatch(SKILL_ID, "text.summarise")
    assert not re.fullmatch(AGENT_NAME, "text.summarise")


def test_the_id_of_a_task_fits_wherever_it_stands() -> None:
    instance = secrets.token_urlsafe(16)
    assert re.fullmatch(INSTANCE_ID, instance)
    task = f"{LONGEST}.{instance}"
    assert is_task_id(task)
    assert len(task) <= MAX_TASK_LENGTH
    assert len(f"task:{task}") <= MAX_TOPIC_LENGTH
    assert Keys("p", "n").topic(f"task:{task}").channel.startswith(f"p:{{a:{LONGEST}}}")
