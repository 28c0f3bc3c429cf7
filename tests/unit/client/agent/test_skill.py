"""What a skill is registered with."""

import pytest
from marshmallow import Schema, fields, validate

from jackfield.client import Agent, Task
from jackfield.client.agent.skill import SkillFunction, describe
from tests.support.agent_registry import Message, stuck


class Input(Schema):
    text = fields.String(required=True, validate=validate.Length(1, 10))


def test_a_skill_is_registered_with_its_docstring_and_json_schema() -> None:
    agent = Agent("a", "ws://x")

    @agent.skill("sum.up", Input, idempotent=True)
    async def sum_up(task: Task, data: Message) -> None:
        """Make it short.

        In some words.
        """

    @agent.skill("plain", description="As it is.")
    async def plain(task: Task, data: Message) -> None: ...

    first, second = (skill.as_dict() for skill in agent._skills.values())
    assert first == {
        "id": "sum.up",
        "description": "Make it short.\n\nIn some words.",
        "idempotent": True,
        "input": {
            "type": "object",
            "properties": {"text": {"type": "string", "minLength": 1, "maxLength": 10}},
            "required": ["text"],
            "additionalProperties": False,
        },
    }
    assert second == {"id": "plain", "description": "As it is.", "idempotent": False}


def test_a_skill_that_takes_anything_has_no_schema() -> None:
    agent = Agent("a", "ws://x")
    stuck(agent, description="")
    (skill,) = agent._skills.values()
    assert skill.as_dict() == {"id": "stuck", "idempotent": False}


async def undocumented(task: Task, data: Message) -> None: ...


async def documented(task: Task, data: Message) -> None: ...


documented.__doc__ = "x" * 3000


@pytest.mark.parametrize(
    ("function", "given", "description"),
    [
        (undocumented, None, ""),
        (undocumented, "As given.", "As given."),
        (documented, None, "x" * 2000),
        (documented, "", ""),
        (documented, "y" * 2000, "y" * 2000),
    ],
)
def test_a_description_is_the_given_one_or_the_start_of_the_docstring(
    function: SkillFunction, given: str | None, description: str
) -> None:
    assert describe(function, given) == description


def test_a_description_that_no_server_accepts_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 2000 characters"):
        describe(documented, "y" * 2001)
