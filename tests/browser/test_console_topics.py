"""The console's panel of topics: what happens, what happened, who is there."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from jackfield.client import Client
from jackfield.testing import RunningServer
from tests.browser.chromium import Windows
from tests.browser.console import (
    button,
    field,
    form,
    group,
    is_empty,
    is_open,
    link,
    opened,
    region,
    rows,
    tab_to,
)
from tests.browser.lab import serve_lab
from tests.support.waiting import wait_until


@pytest_asyncio.fixture(loop_scope="session")
async def server(config: Mapping[str, Any]) -> AsyncIterator[RunningServer]:
    async with serve_lab(config) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with server.connect() as client:
        yield client


async def subscribed(windows: Windows, server: RunningServer, topic: str) -> Page:
    """The console, at a topic that it follows."""
    page = await opened(windows, server, f"topics/{topic}")
    await expect(standing(page)).to_have_text("Subscribed")
    return page


def standing(page: Page) -> Locator:
    """What is said of the topic."""
    return region(page, "Topic").get_by_role("status")


def position(page: Page) -> Locator:
    return region(page, "Topic").get_by_role("definition")


async def publish(client: Client, topic: str, *texts: str) -> None:
    for text in texts:
        await client.publish(topic, {"text": text})


async def shows(page: Page, topic: str, *texts: str) -> None:
    """Wait until a topic's rows are these, each with its text, in this order and no others."""
    await expect(rows(page, f"Events of {topic}")).to_have_text(
        [re.compile(re.escape(text)) for text in texts]
    )


async def test_a_topic_is_followed_from_the_form_and_left_again(
    windows: Windows, server: RunningServer, client: Client
) -> None:
    page = await opened(windows, server, "topics")
    subscribing = form(page, "Subscribe to a topic")
    await button(subscribing, "Fill in room:{name}").click()
    await expect(field(subscribing, "Topic name")).to_have_value("room:")
    await expect(field(subscribing, "Topic name")).to_be_focused()
    await page.keyboard.type("a")
    await page.keyboard.press("Enter")
    await expect(standing(page)).to_have_text("Subscribed")
    await publish(client, "room:a", "one", "two")
    await shows(page, "room:a", "one", "two")
    await expect(position(page)).to_have_text(re.compile(r"^offset 2 of epoch [\w-]+$"))
    await expect(page.get_by_role("link", name="room:a 2")).to_be_visible()
    await button(page, "Leave room:a").click()
    await expect(page.get_by_role("heading", name="Topics", level=1)).to_be_visible()
    await wait_until(lambda: is_empty(client, "room:a"))


async def test_what_was_published_before_is_loaded_on_demand(
    windows: Windows, server: RunningServer, client: Client
) -> None:
    await publish(client, "feed:a", "first", "second")
    page = await subscribed(windows, server, "feed:a")
    older = button(page, "Load older events")
    await expect(rows(page, "Events of feed:a")).to_have_count(0)
    await publish(client, "feed:a", "third")
    await shows(page, "feed:a", "third")
    await older.click()
    await expect(standing(page)).to_have_text("2 older events loaded.")
    await shows(page, "feed:a", "first", "second", "third")
    await older.click()
    await expect(standing(page)).to_have_text("There are no older events.")


async def test_an_event_that_is_chosen_is_shown_in_full(
    windows: Windows, server: RunningServer, client: Client
) -> None:
    page = await subscribed(windows, server, "feed:b")
    payload = {"deep": {"list": [1, None, "<b>not markup</b>"]}}
    await client.publish("feed:b", payload)
    await rows(page, "Events of feed:b").click()
    assert json.loads(await group(page, "Event 1").inner_text()) == payload
    assert await page.locator("b").count() == 0


async def test_members_come_and_go_before_everyones_eyes(
    windows: Windows, server: RunningServer
) -> None:
    first = await subscribed(windows, server, "room:c")
    members = region(first, "Members")
    await expect(members.get_by_role("status")).to_have_text("1 member")
    second = await subscribed(windows, server, "room:c")
    await expect(members.get_by_role("status")).to_have_text("2 members")
    await expect(
        members.get_by_role("list", name="Members of room:c").get_by_role("listitem")
    ).to_have_count(2)
    await second.close()
    await expect(members.get_by_role("status")).to_have_text("1 member")


async def test_what_one_window_publishes_the_other_shows_though_their_servers_differ(
    windows: Windows, server: RunningServer, config: Mapping[str, Any]
) -> None:
    async with serve_lab(config) as other:
        here = await subscribed(windows, server, "signed:a")
        there = await subscribed(windows, other, "signed:a")
        publishing = form(here, "Publish to signed:a")
        await field(publishing, "text").fill("Hello")
        await button(publishing, "Publish").click()
        told = publishing.get_by_role("status")
        await expect(told).to_have_text(re.compile(r"^Published at offset 1 of epoch [\w-]+\.$"))
        await field(form(there, "Publish to signed:a"), "text").fill("Hello yourself")
        await field(form(there, "Publish to signed:a"), "text").press("Enter")
        for page in (here, there):
            await shows(page, "signed:a", "None in a: Hello", "None in a: Hello yourself")


async def test_a_fault_of_what_is_published_stands_at_its_field(
    windows: Windows, server: RunningServer
) -> None:
    page = await subscribed(windows, server, "signed:b")
    publishing = form(page, "Publish to signed:b")
    await button(publishing, "Publish").click()
    await expect(publishing.get_by_role("status")).to_have_text("Not published")
    text = field(publishing, "text")
    await expect(text).to_have_attribute("aria-invalid", "true")
    await expect(text).to_have_accessible_description(
        re.compile("Missing data for required field.")
    )
    await expect(rows(page, "Events of signed:b")).to_have_count(0)


async def test_where_clients_do_not_publish_there_is_no_form(
    windows: Windows, server: RunningServer
) -> None:
    page = await subscribed(windows, server, "news:a")
    publishing = region(page, "Publish")
    await expect(publishing).to_contain_text("Clients do not publish to news:{name*}.")
    await expect(publishing.get_by_role("form")).to_have_count(0)


async def test_a_topic_that_is_not_to_be_had_says_so(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "topics/closed:a")
    await expect(standing(page)).to_have_text("Not subscribed")
    await expect(group(page, "Error")).to_contain_text("not_found")


async def test_events_that_are_lost_leave_a_line_where_they_are_missing(
    windows: Windows, server: RunningServer, client: Client
) -> None:
    page = await subscribed(windows, server, "brief:a")
    await publish(client, "brief:a", "one")
    await shows(page, "brief:a", "one")
    await link(page, "Connection").click()
    await button(page, "Close connection").click()
    await expect(region(page, "Connection").get_by_role("status").first).to_contain_text("Closed")
    await publish(client, "brief:a", "two", "three", "four", "five", "six")  # it keeps three
    await button(page, "Reconnect").click()
    await is_open(page)
    await link(page, "Topics").click()
    await publish(client, "brief:a", "seven")
    await shows(page, "brief:a", "one", "gap Events are lost here", "seven")
    await button(page, "Clear events of brief:a").click()
    await button(page, "Load older events").click()
    await shows(page, "brief:a", "five", "six", "seven")


async def test_while_it_is_paused_nothing_that_comes_is_drawn_and_nothing_lost(
    windows: Windows, server: RunningServer, client: Client
) -> None:
    page = await subscribed(windows, server, "flood:paused")
    await client.request("lab.burst", {"name": "paused", "count": 3})
    await shows(page, "flood:paused", '{"n":0}', '{"n":1}', '{"n":2}')
    pause = button(page, "Pause events of flood:paused")
    await pause.click()
    await expect(pause).to_have_attribute("aria-pressed", "true")
    events = page.get_by_role("listbox", name="Events of flood:paused")
    await events.evaluate(
        """list => {
            window.drawn = 0;
            const count = (records) => (window.drawn += records.length);
            new MutationObserver(count).observe(list, { childList: true, subtree: true });
        }"""
    )
    await client.request("lab.burst", {"name": "paused", "count": 2000})
    await expect(region(page, "Topic").locator(".bar .count")).to_contain_text(
        "2,000 more since the pause"
    )
    await shows(page, "flood:paused", '{"n":0}', '{"n":1}', '{"n":2}')
    assert await page.evaluate("window.drawn") == 0
    await pause.click()
    await expect(rows(page, "Events of flood:paused").last).to_contain_text('{"n":1999}')


async def test_the_panel_of_topics_needs_no_mouse(windows: Windows, server: RunningServer) -> None:
    page = await opened(windows, server, "topics")
    keys = page.keyboard
    await tab_to(field(page, "Topic name"))
    await keys.type("signed:keys")
    await keys.press("Enter")
    await expect(standing(page)).to_have_text("Subscribed")
    publishing = form(page, "Publish to signed:keys")
    await tab_to(field(publishing, "text"))
    for text in ("one", "two", "three"):
        await keys.press("ControlOrMeta+a")
        await keys.type(text)
        await keys.press("Enter")
        await expect(rows(page, "Events of signed:keys").last).to_contain_text(text)
    events = page.get_by_role("listbox", name="Events of signed:keys")
    await keys.press("Shift+Tab")
    await tab_to(events)
    for key, offset in (("ArrowUp", 3), ("ArrowUp", 2), ("Home", 1), ("ArrowDown", 2), ("End", 3)):
        await keys.press(key)
        await expect(group(page, f"Event {offset}")).to_be_visible()
        chosen = events.get_by_role("option", selected=True)
        await expect(chosen).to_have_attribute("aria-posinset", str(offset))
        # This is how who hears the page is told where in the list they are.
        await expect(events).to_have_attribute(
            "aria-activedescendant", await chosen.get_attribute("id") or ""
        )
    await keys.press("Escape")
    await expect(events.get_by_role("option", selected=True)).to_have_count(0)
    await tab_to(button(page, "Leave signed:keys"))
    await keys.press("Enter")
    await expect(field(page, "Topic name")).to_be_focused()
