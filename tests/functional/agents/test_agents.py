"""Agents register, are listed and leave."""

import re
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from jackfield.testing import RunningServer, run_server
from tests.support.agents import COUNT, SAY, Bot, Caller, agent_nodes, refused
from tests.support.topics import Message
from tests.support.waiting import assert_every_key_expires, wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]


@pytest.fixture
def server(servers: list[RunningServer]) -> RunningServer:
    return servers[0]


@pytest.fixture
def other(servers: list[RunningServer]) -> RunningServer:
    return servers[1]


async def the_agents(member: Caller, **wanted: str) -> list[Message]:
    return list((await member.reply("agent.list", **wanted))["agents"])


async def is_listed_with(member: Caller, **expected: Any) -> bool:
    """Whether the one agent that there is has these. What a node knows of them is a second old."""
    listed = await the_agents(member)
    return bool(listed) and expected.items() <= listed[0].items()


async def test_an_agent_is_registered_with_an_instance_and_a_lease(bot: Bot) -> None:
    registered = await bot.register()
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", registered["instance"])
    assert registered["lease"] == 30.0
    assert registered["tasks"] == []


async def test_agents_are_listed_on_every_node_with_skills_and_load(bot: Bot, ada: Caller) -> None:
    await bot.register("counter", COUNT, {"id": "sum.up", "idempotent": True}, capacity=3)
    (listed,) = await the_agents(ada)
    skills = {skill["id"]: skill for skill in listed.pop("skills")}
    assert skills == {"count": COUNT, "sum.up": {"id": "sum.up", "idempotent": True}}
    assert listed == {"name": "counter", "instances": 1, "capacity": 3, "running": 0, "queued": 0}
    assert await the_agents(ada, skill="count") != []
    assert await the_agents(ada, skill="nothing") == []
    for _ in range(4):
        await ada.begin("counter", skill="count", input={"to": 1})
    await wait_until(lambda: is_listed_with(ada, running=3, queued=1))


async def test_a_client_with_messagepack_is_told_the_same(
    bot: Bot, ada: Caller, other: RunningServer
) -> None:
    await bot.register("counter", COUNT)
    async with Caller(other, "eve", subprotocol="jackfield.v1.msgpack") as eve:
        assert await the_agents(eve) == await the_agents(ada)


async def test_only_a_connection_with_the_scope_can_be_an_agent(ada: Caller) -> None:
    job = {"task": "echo." + "x" * 22, "attempt": 1}
    messages: dict[str, Message] = {
        "agent.register": {"name": "echo", "skills": [SAY]},
        "agent.unregister": {},
        "agent.update": job,
        "agent.complete": job,
        "agent.fail": {**job, "message": "no"},
    }
    for message_type, payload in messages.items():
        error = await ada.error(message_type, **payload)
        assert (error["code"], error["scopes"]) == ("forbidden", ["agent"]), message_type


@pytest.mark.parametrize(
    ("wrong", "pointer", "code"),
    [
        ({"name": "Echo"}, "/name", "regexp"),
        ({"name": "1st"}, "/name", "regexp"),
        ({"name": "a.b"}, "/name", "regexp"),
        ({"name": "echo\n"}, "/name", "regexp"),
        ({"name": "a" * 65}, "/name", "regexp"),
        ({"name": "a}b"}, "/name", "regexp"),
        ({"skills": []}, "/skills", "length"),
        ({"skills": [{"id": f"s{n}"} for n in range(65)]}, "/skills", "length"),
        ({"skills": [SAY, {"id": "Say"}]}, "/skills/1/id", "regexp"),
        ({"skills": [SAY, {"id": "say it"}]}, "/skills/1/id", "regexp"),
        ({"skills": [SAY, {"description": "x"}]}, "/skills/1/id", "required"),
        ({"skills": [SAY, SAY]}, "/skills/1/id", "duplicate"),
        ({"skills": [SAY | {"output": {}}]}, "/skills/0/output", "unknown"),
        ({"skills": [SAY | {"input": {"type": "strnig"}}]}, "/skills/0/input/type", None),
        ({"skills": [SAY | {"input": {"type": "array"}}]}, "/skills/0/input/type", "type"),
        ({"skills": [SAY | {"input": {"$ref": "http://x/y"}}]}, "/skills/0/input/$ref", None),
        ({"capacity": 0}, "/capacity", "range"),
        ({"capacity": 1001}, "/capacity", "range"),
        ({"capacity": 1.5}, "/capacity", "invalid"),
        ({"instance": "mine"}, "/instance", "regexp"),
        ({"instance": "a b" + "x" * 19}, "/instance", "regexp"),
    ],
)
async def test_a_registration_that_is_wrong_says_where(
    bot: Bot, wrong: Message, pointer: str, code: str | None
) -> None:
    payload = {"name": "echo", "skills": [SAY], **wrong}
    error = await bot.error("agent.register", **payload)
    assert error["code"] == "invalid_payload"
    (fault,) = error["fields"]
    assert fault["pointer"] == pointer
    assert code in (None, fault["code"])
    assert (await bot.register())["tasks"] == []  # it was not made one by half


async def test_names_may_be_as_long_as_they_say(bot: Bot, ada: Caller) -> None:
    name, skill = "a" + "-" * 63, "a" + "." * 63
    await bot.register(name, {"id": skill})
    called = await ada.begin(name, skill=skill)
    job = await bot.told()
    assert (job["agent"], job["skill"]) == (name, skill)
    await bot.complete(job)
    await called.news("working")
    assert await called.output() == {}


async def test_a_connection_is_one_agent(bot: Bot) -> None:
    await bot.register("echo")
    error = await bot.error("agent.register", name="other", skills=[SAY])
    assert error["code"] == "conflict"
    assert "echo" in error["message"]
    another = await bot.error("agent.register", name="echo", skills=[SAY], instance="x" * 22)
    assert another["code"] == "conflict"


async def test_registered_again_it_is_the_same_instance_with_what_it_says_now(
    bot: Bot, ada: Caller
) -> None:
    first = await bot.register("echo", SAY, capacity=1)
    again = await bot.register("echo", COUNT, capacity=2)
    assert again["instance"] == first["instance"]
    await wait_until(lambda: is_listed_with(ada, instances=1, capacity=2))
    await ada.begin(skill="count", input={"to": 2})
    assert (await bot.told())["skill"] == "count"


async def test_a_skill_that_an_instance_has_no_more_is_not_asked_of_it(
    bot: Bot, ada: Caller
) -> None:
    await bot.register("echo", SAY, COUNT, capacity=9)
    await ada.begin(skill="say")
    await bot.told()
    await bot.register("echo", COUNT, capacity=9)
    queued = await ada.begin(skill="say")
    assert await bot.hears_nothing_more()
    assert (await ada.task(queued.task))["state"] == "submitted"


async def test_registered_again_it_is_not_told_again_what_it_knows(bot: Bot, ada: Caller) -> None:
    await bot.register(capacity=2)
    called = await ada.begin()
    job = await bot.told()
    again = await bot.register(capacity=2)
    listed = {"task": job["task"], "attempt": 1, "seq": 0, "state": "working"}
    assert again["tasks"] == [listed]
    assert await bot.hears_nothing_more()
    await bot.complete(job, done=True)
    await called.news("working")
    assert await called.output() == {"done": True}


@pytest.mark.parametrize("where", [0, 1])
async def test_an_instance_is_not_to_be_had_by_another_user(
    servers: list[RunningServer], bot: Bot, ada: Caller, where: int
) -> None:
    instance = (await bot.register())["instance"]
    async with Bot(servers[where], "thief") as thief:
        theft = {"name": "echo", "skills": [SAY], "instance": instance}
        assert (await thief.error("agent.register", **theft))["code"] == "forbidden"
        called = await ada.begin()
        job = await bot.told()
        assert refused(await thief.complete(job)) == "conflict"  # it is no agent at all
        await bot.complete(job)
        await called.news("working")
        assert await called.output() == {}
        assert thief.inbox == []


@pytest.mark.parametrize("where", [0, 1])
async def test_an_instance_that_comes_back_while_it_is_still_there_is_where_it_came_last(
    servers: list[RunningServer], bot: Bot, ada: Caller, where: int
) -> None:
    instance = (await bot.register(capacity=2))["instance"]
    called = await ada.begin()
    job = await bot.told()
    async with Bot(servers[where]) as again:
        registered = await again.register(capacity=2, instance=instance)
        assert registered["instance"] == instance
        assert [each["task"] for each in registered["tasks"]] == [job["task"]]
        assert await again.told() == job
        second = await ada.begin()
        assert (await again.told())["task"] == second.task
        assert await bot.hears_nothing_more()
        assert refused(await bot.complete(job)) == "conflict"
        await again.complete(job)
        await called.news("working")
        assert await called.output() == {}


async def test_after_unregistering_an_agent_ends_what_it_has_and_gets_no_more(
    bot: Bot, ada: Caller
) -> None:
    await bot.register(capacity=2)
    first = await ada.begin()
    job = await bot.told()
    assert await bot.reply("agent.unregister") == {}
    second = await ada.begin()
    assert await bot.hears_nothing_more()
    await wait_until(lambda: is_listed_with(ada, instances=0, queued=1))
    assert (await bot.update(job, {"n": 1}, seq=0))["payload"]["seq"] == 1
    await bot.complete(job)
    await first.news("working")
    assert await first.chunk() == {"n": 1}
    assert await first.output() == {}
    assert await bot.hears_nothing_more()
    await bot.register(capacity=2)  # it has thought better of it
    assert (await bot.told())["task"] == second.task


async def test_unregistering_what_is_no_agent_is_nothing(bot: Bot) -> None:
    assert await bot.reply("agent.unregister") == {}


async def test_an_idle_agent_is_gone_with_its_connection_and_can_still_be_called(
    server: RunningServer, bot: Bot, ada: Caller
) -> None:
    await bot.register()
    await bot.socket.close()
    await wait_until(lambda: is_listed_with(ada, name="echo", instances=0, capacity=0))
    called = await ada.begin()
    async with Bot(server) as late:
        await late.register()
        assert (await late.told())["task"] == called.task


async def test_agents_are_forgotten_after_a_while_without_an_instance(
    config: Config,
) -> None:
    async with agent_nodes(config, remember="1s") as (server,), Caller(server, "ada") as ada:
        async with Bot(server) as bot:
            await bot.register()
            assert await the_agents(ada) != []

        async def is_unknown() -> bool:
            answer = await ada.request("agent.call", agent="echo", detach=True)
            return answer["type"] == "error" and refused(answer) == "not_found"

        await wait_until(is_unknown)


async def test_whoever_is_nobody_may_be_an_agent_where_the_configuration_says_so(
    config: Config,
) -> None:
    nobody = {"auth": {"anonymous": True, "anonymous_scopes": ["agent"]}}
    async with (
        run_server(config={**config, **nobody}) as server,
        Bot(server, None) as bot,
        Caller(server) as caller,
    ):
        await bot.register()
        called = await caller.begin(input={"text": "hi"})
        job = await bot.told()
        assert job["caller"] is None
        assert job["input"] == {"text": "hi"}
        await bot.complete(job)
        await called.news("working")
        assert await called.output() == {}


@pytest.mark.parametrize("subprotocol", ["jackfield.v1", "jackfield.v1.msgpack"])
async def test_all_replies_are_what_their_schemas_say(config: Config, subprotocol: str) -> None:
    spoken = {"subprotocol": subprotocol}
    checked = {**config, "server": {"debug": True}}
    async with (
        agent_nodes(checked) as (server,),
        Bot(server, **spoken) as bot,
        Caller(server, "ada", **spoken) as ada,
    ):
        await bot.register("echo", SAY, COUNT, capacity=3)
        await bot.register("echo", SAY, COUNT, capacity=4)
        assert len(await the_agents(ada)) == 1
        called = await ada.begin(skill="say", input={"deep": [{"er": None}]})
        job = await bot.told()
        assert (await bot.update(job, {"n": 1}, seq=0))["type"] == "reply"
        assert (await bot.ask_for(job, message="?", schema={"type": "object"}))["type"] == "reply"
        assert (await ada.task(called.task))["prompt"]["message"] == "?"
        answered = await ada.reply("agent.answer", task=called.task, input={"a": [1]})
        assert answered["state"] == "working"
        assert (await bot.told("answered"))["input"] == {"a": [1]}
        assert (await bot.complete(job, o={"p": 1}))["type"] == "reply"
        assert (await ada.task(called.task))["output"] == {"o": {"p": 1}}
        failing = await ada.begin(skill="say")
        assert (await bot.fail(await bot.told(), "no"))["type"] == "reply"
        assert (await ada.task(failing.task))["error"]["code"] == "agent_failed"
        canceled = await ada.begin(skill="say")
        assert (await ada.reply("agent.cancel", task=canceled.task))["state"] == "canceled"
        detached = await ada.reply("agent.call", agent="echo", skill="say", detach=True)
        assert (await ada.subscribe(f"task:{detached['task']}"))["recovered"]
        assert await bot.reply("agent.unregister") == {}


async def test_metrics_tell_of_agents(server: RunningServer, bot: Bot) -> None:
    await bot.register()
    async with Caller(server, "ada") as ada, aiohttp.ClientSession() as http:
        await ada.begin()
        await bot.complete({"task": "echo." + "x" * 22, "attempt": 1})
        async with http.get(f"{server.address}/metrics") as response:
            lines = (await response.text()).splitlines()
    assert "jackfield_agent_instances 1.0" in lines
    assert "jackfield_agent_calls_total 1.0" in lines
    assert "jackfield_agent_calls_followed 1.0" in lines
    assert "jackfield_agent_reports_dropped_total 1.0" in lines


async def test_every_key_expires_while_all_is_under_way(
    server: RunningServer, bot: Bot, ada: Caller
) -> None:
    everything = f"{server.node.settings.redis.prefix}:*"
    await bot.register("echo", SAY, COUNT)
    await assert_every_key_expires(server.node.redis, everything)
    called = await ada.begin(skill="say", key="once")
    queued = await ada.begin(skill="say", key="twice")
    job = await bot.told()
    await bot.update(job, {"n": 1}, seq=0)
    await bot.ask_for(job)
    await ada.subscribe(f"task:{called.task}")
    await assert_every_key_expires(server.node.redis, everything)
    await ada.reply("agent.answer", task=called.task, input={}, key="once")
    await bot.complete(job)
    await assert_every_key_expires(server.node.redis, everything)
    await ada.reply("agent.cancel", task=queued.task)
    await bot.socket.close()
    await assert_every_key_expires(server.node.redis, everything)


async def test_a_message_without_an_id_cannot_call(server: RunningServer) -> None:
    async with Wire(server, welcomed=True) as wire:
        await wire.send({"type": "agent.call", "payload": {"agent": "echo"}})
        error = (await wire.receive())["error"]
        assert (error["code"], error["fields"][0]["pointer"]) == ("invalid_message", "/id")


async def test_agents_with_large_skills_never_make_the_list_too_large(config: Config) -> None:
    skills = [{"id": f"s{n}", "description": "x" * 1900} for n in range(30)]
    expected = ["echo", *(f"eves-{n:02}" for n in range(12))]
    async with agent_nodes(config) as (server,), Caller(server, "ada") as ada:
        async with Bot(server) as bot:
            await bot.register()
        for name in expected[1:]:
            async with Bot(server, "eve") as eve:
                await eve.register(name, *skills)

        async def are_listed() -> bool:  # what a node knows of them is a second old
            found: list[str] = []
            page: Message = await ada.reply("agent.list")
            while "next" in page:
                found += [each["name"] for each in page["agents"]]
                page = await ada.reply("agent.list", after=page["next"])
            return [*found, *(each["name"] for each in page["agents"])] == expected

        await wait_until(are_listed)
        page = await ada.reply("agent.list", limit=2)
        assert [each["name"] for each in page["agents"]] == expected[:2]
        assert page["next"] == expected[1]
        async with server.connect(token="ada") as client:
            assert [each["name"] for each in await client.agents()] == expected
            assert [each["name"] for each in await client.agents("say")] == ["echo"]
