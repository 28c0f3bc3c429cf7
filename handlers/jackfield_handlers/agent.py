"""``agent.*``: to call agents and follow what they do, and to be one."""

from collections.abc import AsyncIterator
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from jackfield import AnyPayload, Context, Plugin
from jackfield.wire.agent_limits import (
    AGENT_NAME,
    INSTANCE_ID,
    MAX_CAPACITY,
    MAX_CHUNKS,
    MAX_CODE_LENGTH,
    MAX_COUNT,
    MAX_PAGE,
    MAX_REASON,
    MAX_SECONDS,
    MAX_SKILLS,
    MAX_TASK_LENGTH,
    MAX_WATCHERS,
    MAX_WORDS,
    MIN_SECONDS,
    SKILL_ID,
)
from jackfield.wire.topic_limits import MAX_KEY_LENGTH

agent = Plugin("agent")

#: A task's id: an agent's name, a dot, and what nobody can guess.
_TASK = validate.Length(1, MAX_TASK_LENGTH)
_AGENT = validate.Regexp(
    rf"{AGENT_NAME}\Z", error="Must be 1 to 64 of a-z, 0-9, '-', '_'; a letter first."
)
_SKILL = validate.Regexp(
    rf"{SKILL_ID}\Z", error="Must be 1 to 64 of a-z, 0-9, '.', '-', '_'; a letter first."
)
_KEY = validate.Length(1, MAX_KEY_LENGTH)
_SECONDS = validate.Range(MIN_SECONDS, MAX_SECONDS)


class SkillSchema(Schema):
    """Something that an agent can be called for."""

    id = fields.String(required=True, validate=_SKILL)
    description = fields.String(validate=validate.Length(max=MAX_WORDS))
    input = fields.Dict(metadata={"description": "The JSON Schema of its input."})
    idempotent = fields.Boolean(
        metadata={
            "description": "Doing it again does no harm and streams the same chunks: another "
            "instance may, if one dies."
        }
    )


class Register(Schema):
    """An instance of an agent."""

    name = fields.String(required=True, validate=_AGENT)
    skills = fields.List(
        fields.Nested(SkillSchema), required=True, validate=validate.Length(1, MAX_SKILLS)
    )
    capacity = fields.Integer(
        strict=True,
        load_default=1,
        validate=validate.Range(1, MAX_CAPACITY),
        metadata={"description": "How many tasks it takes at once."},
    )
    instance = fields.String(
        validate=validate.Regexp(rf"{INSTANCE_ID}\Z", error="Must be what a reply has told."),
        metadata={"description": "The one it was, to go on with the tasks that it had."},
    )


class Registered(Schema):
    """What an instance has to know."""

    instance = fields.String(required=True)
    lease = fields.Float(required=True)
    tasks = fields.List(fields.Dict(), required=True)


class ListAgents(Schema):
    """Which agents are wanted."""

    skill = fields.String(validate=_SKILL)
    limit = fields.Integer(
        strict=True,
        load_default=MAX_PAGE,
        validate=validate.Range(1, MAX_PAGE),
        metadata={"description": "How many there may be in the page."},
    )
    after = fields.String(
        validate=_AGENT, metadata={"description": "What the page before this told as `next`."}
    )


class Agents(Schema):
    """Agents, with their skills and how busy they are."""

    agents = fields.List(fields.Dict(), required=True)
    next = fields.String(metadata={"description": "There are more, behind this one."})


class Call(Schema):
    """What is called, and how."""

    agent = fields.String(validate=_AGENT)
    skill = fields.String(validate=_SKILL)
    input = fields.Dict(keys=fields.String(), load_default=dict)
    timeout = fields.Float(
        validate=_SECONDS,
        metadata={"description": "Seconds until it must have ended."},
    )
    detach = fields.Boolean(
        load_default=False, metadata={"description": "Reply at once, with the task."}
    )
    key = fields.String(
        validate=_KEY,
        metadata={"description": "Sent again with the same key, it is the same task."},
    )
    watchers = fields.List(
        fields.String(validate=validate.Length(1, 255)),
        load_default=list,
        validate=validate.Length(max=MAX_WATCHERS),
        metadata={"description": "Users who may see the task beside the caller."},
    )

    @validates_schema
    def names_something(self, data: dict[str, Any], **_: Any) -> None:
        """Somebody must be called."""
        if "agent" not in data and "skill" not in data:
            raise ValidationError({"agent": ["Name an agent, a skill, or both."]})


class OfTask(Schema):
    """A task."""

    task = fields.String(required=True, validate=_TASK)


class Cancel(OfTask):
    """Why it is cancelled."""

    reason = fields.String(validate=validate.Length(1, MAX_REASON))


class Answer(OfTask):
    """What the task has asked for."""

    input = fields.Dict(keys=fields.String(), required=True)
    key = fields.String(validate=_KEY)


class OfAttempt(OfTask):
    """An attempt of a task, as the assignment told it."""

    attempt = fields.Integer(required=True, strict=True, validate=validate.Range(1, MAX_COUNT))


class Prompt(Schema):
    """What a task asks for."""

    message = fields.String(validate=validate.Length(max=MAX_WORDS))
    schema = fields.Dict(metadata={"description": "The JSON Schema of the answer."})
    expires = fields.Float(
        validate=_SECONDS,
        metadata={"description": "Seconds until nobody needs to answer any more."},
    )


class Update(OfAttempt):
    """What has come of it so far."""

    chunks = fields.List(fields.Dict(keys=fields.String()), validate=validate.Length(1, MAX_CHUNKS))
    seq = fields.Integer(strict=True, validate=validate.Range(0, MAX_COUNT))
    state = fields.String(validate=validate.OneOf(("working", "input_required", "auth_required")))
    prompt = fields.Nested(Prompt)

    @validates_schema
    def fits_together(self, data: dict[str, Any], **_: Any) -> None:
        """Chunks are numbered, and only what asks has a prompt."""
        if "chunks" in data and "seq" not in data:
            raise ValidationError({"seq": ["Missing data for required field."]})
        if "prompt" in data and data.get("state") not in ("input_required", "auth_required"):
            raise ValidationError({"prompt": ["Only for input_required and auth_required."]})


class Complete(OfAttempt):
    """What has come of it."""

    output = fields.Dict(keys=fields.String(), load_default=dict)


class Fail(OfAttempt):
    """Why nothing has come of it."""

    message = fields.String(required=True, validate=validate.Length(1, MAX_WORDS))
    code = fields.String(validate=validate.Length(1, MAX_CODE_LENGTH))
    rejected = fields.Boolean(load_default=False)


class Task(Schema):
    """A task and what is known of it."""

    task = fields.String(required=True)
    agent = fields.String()
    skill = fields.String()
    state = fields.String()
    caller = fields.String(allow_none=True)
    attempt = fields.Integer()
    created_at = fields.Float()
    deadline = fields.Float()
    seq = fields.Integer()
    input = fields.Raw()
    output = fields.Raw()
    error = fields.Raw()
    prompt = fields.Raw()


task = agent.topic("task:{id}", AnyPayload, history=10_000, ttl="1h", replay=True)


@task.authorize
async def may_see(ctx: Context, id: str) -> bool:  # noqa: A002 - the name of the part
    """Let only the caller see a task, and those it has named."""
    return await ctx.agents.may_see(id)


@agent.handler("agent.list", ListAgents, reply=Agents)
async def list_agents(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """List agents with their skills, and how busy they are."""
    return await ctx.agents.page(data.get("skill"), after=data.get("after"), limit=data["limit"])


@agent.handler("agent.call", Call)
async def call(ctx: Context, data: dict[str, Any]) -> AsyncIterator[Any]:
    """Call an agent: what it streams comes as chunks, its output in the reply."""
    answers = ctx.agents.call(
        data.get("agent"),
        data.get("skill"),
        data["input"],
        timeout=data.get("timeout"),
        detach=data["detach"],
        key=data.get("key"),
        watchers=data["watchers"],
    )
    async for each in answers:
        yield each


@agent.handler("agent.task", OfTask, reply=Task)
async def read_task(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Read a task."""
    return await ctx.agents.task(data["task"])


@agent.handler("agent.cancel", Cancel, reply=Task)
async def cancel(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Cancel a task; one that has ended stays as it is."""
    return await ctx.agents.cancel(data["task"], data.get("reason"))


@agent.handler("agent.answer", Answer, reply=Task)
async def answer(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Answer what a task asks for."""
    return await ctx.agents.answer(data["task"], data["input"], data.get("key"))


@agent.handler("agent.register", Register, reply=Registered, scopes=["agent"])
async def register(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Be an instance of an agent."""
    return await ctx.agents.register(
        data["name"], data["skills"], capacity=data["capacity"], instance=data.get("instance")
    )


@agent.handler("agent.unregister", scopes=["agent"])
async def unregister(ctx: Context, data: dict[str, Any]) -> None:
    """Take no more tasks; those that are under way may be ended."""
    await ctx.agents.unregister()


# Concurrent, as an update waits while its task's caller can't keep up, and others go on.
@agent.handler(
    "agent.update",
    Update,
    reply=Task,
    scopes=["agent"],
    concurrent=True,
    timeout="10m",  # longer than any caller may read nothing: limits.write_timeout is 10 s
)
async def update(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Stream chunks of a task, or ask its caller for something."""
    return await ctx.agents.update(
        data["task"],
        data["attempt"],
        seq=data.get("seq"),
        chunks=data.get("chunks", ()),
        state=data.get("state"),
        prompt=data.get("prompt"),
    )


@agent.handler("agent.complete", Complete, reply=Task, scopes=["agent"], concurrent=True)
async def complete(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """End a task with its output."""
    return await ctx.agents.complete(data["task"], data["attempt"], data["output"])


@agent.handler("agent.fail", Fail, reply=Task, scopes=["agent"], concurrent=True)
async def fail(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """End a task without."""
    return await ctx.agents.fail(
        data["task"],
        data["attempt"],
        data["message"],
        code=data.get("code"),
        rejected=data["rejected"],
    )


@agent.handler("agent.release", OfAttempt, reply=Task, scopes=["agent"], concurrent=True)
async def release(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Hand a task of an idempotent skill on to another instance, which begins it again."""
    return await ctx.agents.release(data["task"], data["attempt"])
