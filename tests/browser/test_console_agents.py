"""The console's panel of agents: calls from a form to an agent, and back as they go on."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from jackfield.testing import RunningServer
from tests.browser.chromium import Windows
from tests.browser.console import (
    button,
    field,
    form,
    group,
    is_open,
    link,
    opened,
    region,
    tab_to,
)
from tests.browser.lab import Parrot, serve_lab
from tests.support.waiting import wait_until


@pytest_asyncio.fixture(loop_scope="session")
async def server(config: Mapping[str, Any]) -> AsyncIterator[RunningServer]:
    agents = {"auth": {"anonymous": True, "anonymous_scopes": ["agent"]}}
    async with serve_lab({**config, **agents}) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def parrot(server: RunningServer) -> AsyncIterator[Parrot]:
    parrot = Parrot(server.url)
    async with parrot.agent.running():
        yield parrot


async def chosen(windows: Windows, server: RunningServer, skill: str) -> Page:
    """The console, at one of the agent's skills."""
    page = await opened(windows, server, f"agents/parrot/{skill}")
    await expect(page.get_by_role("heading", name=f"parrot · {skill}", level=1)).to_be_visible()
    return page


async def call(page: Page, text: str) -> None:
    await field(form(page, "Call"), "text").fill(text)
    await button(form(page, "Call"), "Call").click()


def state(page: Page) -> Locator:
    """The state of the task that is shown."""
    return region(page, "Tasks").get_by_role("status").first


async def output(page: Page) -> Any:
    await expect(state(page)).to_contain_text("completed after")
    return json.loads(await group(page, "Output").inner_text())


async def test_agents_are_all_listed_though_they_fit_no_single_reply(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    skills = [{"id": f"s{n}", "description": "x" * 1900} for n in range(30)]
    for n in range(10):
        async with server.connect() as client:
            payload = {"name": f"large-{n}", "skills": skills}
            await client.request("agent.register", payload)
    page = await opened(windows, server, "agents")
    listed = page.get_by_role("navigation", name="Agents", exact=True)
    await expect(listed.get_by_role("heading")).to_have_count(11)


async def test_agents_and_their_skills_are_listed_with_their_load(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    page = await opened(windows, server, "agents")
    listed = page.get_by_role("navigation", name="Agents", exact=True)
    await expect(listed.get_by_role("heading")).to_have_text("parrot 0 of 4 busy")
    await expect(listed.get_by_role("link")).to_have_text(["repeat", "hold", "ask", "fail"])
    await link(listed, "repeat").click()
    await expect(region(page, "Call")).to_contain_text("Repeat a text word by word.")
    await expect(region(page, "Call")).to_contain_text("idempotent")
    await expect(field(form(page, "Call"), "text")).to_have_accessible_description(
        re.compile("What to repeat.")
    )


async def test_what_an_agent_streams_is_shown_as_it_comes_and_then_what_it_came_to(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    page = await chosen(windows, server, "hold")
    await call(page, "Who is a pretty boy")
    await expect(group(page, "Streamed text")).to_have_text("Who ")
    await expect(state(page)).to_have_text("working")
    parrot.may_go_on.set()
    assert await output(page) == {"words": 5}
    await expect(group(page, "Streamed text")).to_have_text("Who is a pretty boy ")
    chunks = page.get_by_role("listbox", name="Chunks").get_by_role("option")
    await expect(chunks).to_have_count(5)


async def test_an_input_that_the_skill_does_not_take_is_blamed_at_its_field(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    page = await chosen(windows, server, "repeat")
    calling = form(page, "Call")
    await button(calling, "Call").click()
    await expect(calling.get_by_role("status")).to_have_text("Not called")
    text = field(calling, "text")
    await expect(text).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_role("list", name="Tasks")).to_have_count(0)
    await call(page, "x" * 401)
    await expect(group(calling, "Error")).to_contain_text("/text")
    await button(calling, "Go to /text").click()
    await expect(text).to_be_focused()
    await call(page, "yes")
    assert await output(page) == {"words": 1}
    await expect(text).not_to_have_attribute("aria-invalid", "true")


async def test_a_task_can_be_cancelled_and_its_agent_is_told(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    page = await chosen(windows, server, "hold")
    await call(page, "Never mind")
    await expect(group(page, "Streamed text")).to_have_text("Never ")
    await button(page, "Cancel task").click()
    await expect(state(page)).to_contain_text("canceled after")
    await expect(group(region(page, "Tasks"), "Error")).to_contain_text("Cancelled in the console.")
    await wait_until(parrot.was_cancelled.is_set)


async def test_an_agent_asks_and_a_person_answers(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    page = await chosen(windows, server, "ask")
    await call(page, "hello")
    asked = form(page, "Answer to the agent")
    await expect(asked.get_by_role("status").first).to_have_text("How often?")
    await expect(state(page)).to_have_text("input_required")
    await field(asked, "count").fill("4")
    await button(asked, "Answer").click()
    await expect(field(asked, "count")).to_have_attribute("aria-invalid", "true")
    await expect(asked).to_contain_text("Not sent")
    await field(asked, "count").fill("2")
    await button(asked, "Answer").click()
    assert await output(page) == {"text": "hello hello"}
    await expect(asked).to_have_count(0)


async def test_what_fails_within_an_agent_says_no_more_than_that(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    page = await chosen(windows, server, "fail")
    await call(page, "now")
    await expect(state(page)).to_contain_text("failed after")
    await expect(group(region(page, "Tasks"), "Error")).to_be_visible()
    await expect(page.get_by_text("the page must not be told")).to_have_count(0)


async def test_a_detached_task_is_attached_to_again_after_a_reload_and_misses_nothing(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    page = await chosen(windows, server, "hold")
    await field(page, "Goes on without this page (detached)").check()
    await call(page, "Still here and well")
    await expect(group(page, "Streamed text")).to_have_text("Still ")
    task = await region(page, "Tasks").get_by_role("definition").first.inner_text()
    await page.reload()
    await is_open(page)
    await expect(region(page, "Tasks")).to_contain_text("No task was called or attached to yet.")
    await field(page, "Task id").fill(task)
    await button(page, "Attach").click()
    await expect(group(page, "Streamed text")).to_have_text("Still ")
    parrot.may_go_on.set()
    assert await output(page) == {"words": 4}
    await expect(group(page, "Streamed text")).to_have_text("Still here and well ")


async def test_a_task_that_is_not_there_is_not_attached_to(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    page = await opened(windows, server, "agents")
    await field(page, "Task id").fill("nobodys")
    await button(page, "Attach").click()
    await expect(state(page)).to_contain_text("not_found")


async def test_a_call_ends_with_its_time_limit(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    page = await chosen(windows, server, "hold")
    await page.get_by_role("spinbutton", name="Time limit in seconds").fill("1")
    await call(page, "Too long")
    await expect(state(page)).to_contain_text("failed after")
    await expect(group(region(page, "Tasks"), "Error")).to_contain_text("timeout")


async def test_the_panel_of_agents_needs_no_mouse(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    page = await opened(windows, server, "agents")
    keys = page.keyboard
    await expect(link(page, "ask")).to_be_visible()
    await tab_to(link(page, "ask"))
    await keys.press("Enter")
    await tab_to(field(form(page, "Call"), "text"))
    await keys.type("hello")
    await keys.press("Control+Enter")
    asked = form(page, "Answer to the agent")
    await expect(asked).to_be_visible()
    await tab_to(field(asked, "count"))
    await keys.type("3")
    await keys.press("Enter")
    assert await output(page) == {"text": "hello hello hello"}
    await tab_to(link(page, "hold"))
    await keys.press("Enter")
    await tab_to(field(form(page, "Call"), "text"))
    await keys.type("on and on")
    await tab_to(button(form(page, "Call"), "Call"))
    await keys.press("Enter")
    await expect(group(page, "Streamed text")).to_have_text("on ")
    await tab_to(button(page, "Cancel task"))
    await keys.press("Enter")
    await expect(state(page)).to_contain_text("canceled after")
