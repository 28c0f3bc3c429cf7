"""The console as people see and hear it: in light and dark, on a desk and on a phone."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import expect

from jackfield.client import Client
from tests.browser.chromium import Windows
from tests.browser.conftest import Photograph
from tests.browser.console import answer, button, field, form, group, is_open, link, region, rows
from tests.browser.eyes import WIDTHS, Eyes
from tests.browser.lab import Parrot, serve_lab


@asynccontextmanager
async def looking(
    windows: Windows,
    config: Mapping[str, Any],
    photograph: Photograph,
    panel: str,
    width: int,
) -> AsyncIterator[tuple[Eyes, Client]]:
    agents = {"auth": {"anonymous": True, "anonymous_scopes": ["agent"]}}
    async with serve_lab({**config, **agents}) as server, server.connect() as client:
        async with Parrot(server.url).agent.running():
            page = await windows.open(f"{server.address}/#/{panel}", width=width)
            await is_open(page)
            yield Eyes(page, f"{panel}-{width}", photograph), client


@WIDTHS
async def test_the_panel_of_messages_is_there_for_everybody(
    windows: Windows,
    config: Mapping[str, Any],
    photograph: Photograph,
    width: int,
) -> None:
    async with looking(windows, config, photograph, "messages", width) as (eyes, _):
        page = eyes.page
        await expect(link(page, "lab.order")).to_be_visible()
        await eyes.look("list")
        await link(page, "lab.order").click()
        await button(page, "Add tags").click()
        await button(page, "Send").click()
        await expect(group(page, "Error")).to_be_visible()
        await eyes.look("error")
        await page.get_by_role("tab", name="JSON").click()
        await eyes.look("json")
        await page.get_by_role("tab", name="Form").click()
        await link(page, "counting.count streams").click()
        await field(page, "to").fill("20")
        await button(page, "Send").click()
        await expect(answer(page)).to_contain_text("20 chunks")
        await rows(page, "Chunks").last.click()
        await eyes.look("stream")


@WIDTHS
async def test_the_panel_of_topics_is_there_for_everybody(
    windows: Windows,
    config: Mapping[str, Any],
    photograph: Photograph,
    width: int,
) -> None:
    async with looking(windows, config, photograph, "topics", width) as (eyes, client):
        page = eyes.page
        await expect(button(page, "Fill in room:{name}")).to_be_visible()
        await eyes.look("choice")
        await field(page, "Topic name").fill("signed:a")
        await button(page, "Subscribe").click()
        await expect(region(page, "Topic").get_by_role("status")).to_have_text("Subscribed")
        for number in range(3):
            await client.publish("signed:a", {"text": f"A line, number {number}"})
        await button(form(page, "Publish to signed:a"), "Publish").click()
        await expect(group(page, "Error")).to_be_visible()
        await rows(page, "Events of signed:a").nth(1).click()
        await eyes.look("topic")


@WIDTHS
async def test_the_panel_of_agents_is_there_for_everybody(
    windows: Windows,
    config: Mapping[str, Any],
    photograph: Photograph,
    width: int,
) -> None:
    async with looking(windows, config, photograph, "agents", width) as (eyes, _):
        page = eyes.page
        calling, tasks = form(page, "Call"), region(page, "Tasks")
        await link(page, "repeat").click()
        await eyes.look("skill")
        await field(calling, "text").fill("A word is enough to the wise. " * 4)
        await button(calling, "Call").click()
        await expect(group(page, "Output")).to_be_visible()
        await eyes.look("output")
        await link(page, "ask").click()
        await expect(page.get_by_role("heading", name="parrot · ask", level=1)).to_be_visible()
        await field(calling, "text").fill("Well?")
        await button(calling, "Call").click()
        await button(form(page, "Answer to the agent"), "Answer").click()
        await expect(group(tasks, "Error")).to_be_visible()
        await eyes.look("question")
        await button(page, "Cancel task").click()
        await expect(tasks.get_by_role("status").first).to_contain_text("canceled")
        await eyes.look("end")


@WIDTHS
async def test_the_panel_of_the_connection_is_there_for_everybody(
    windows: Windows,
    config: Mapping[str, Any],
    photograph: Photograph,
    width: int,
) -> None:
    async with looking(windows, config, photograph, "connection", width) as (eyes, _):
        page = eyes.page
        await field(page, "With the console's own").check()
        latency = page.get_by_role("figure").filter(has_text="Latency").locator("output")
        await expect(latency).to_have_text(re.compile("median"))
        await rows(page, "Frames").first.click()
        await eyes.look("open")
        await button(page, "Close connection").click()
        await expect(region(page, "Connection")).to_contain_text("Closed (1000")
        await eyes.look("closed")
